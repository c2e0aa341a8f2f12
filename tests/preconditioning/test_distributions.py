"""Joint distributions of all components, against the dense mixture of Gaussians."""

import pytest
import torch

from gudlearn.diffusion.likelihood import flow_log_prob
from gudlearn.diffusion.paths import WindowedGamma, load_forward_mode
from gudlearn.preconditioning.distributions import JointDistribution, MixtureDistribution
from gudlearn.preconditioning.joint import JointGaussian, covariance_inflation
from gudlearn.preconditioning.marginals import (
    GaussianMarginals,
    MixtureMarginals,
    PointMassMarginals,
)

WEIGHTS = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
MEANS = torch.tensor([[0.0, 0.0, 0.0], [3.0, -1.0, 2.0], [-2.0, 0.0, 1.0]], dtype=torch.float64)
MISSING = 16.0
ONE = torch.ones(1, dtype=torch.float64)


def gaussian(k, n_factors=2):
    """The Gaussian of cluster k as factors, and its covariance."""
    generator = torch.Generator().manual_seed(k)
    loadings = torch.randn(3, n_factors, generator=generator, dtype=torch.float64)
    loadings = 0.9 * loadings / loadings.norm(dim=1, keepdim=True)
    std = torch.tensor([1.0, 0.3, 2.0], dtype=torch.float64) * (1 + k) / 2
    correlation = loadings @ loadings.T
    correlation.fill_diagonal_(1.0)
    return JointGaussian(MEANS[k], std, loadings), std[:, None] * correlation * std


def clustered():
    joints = [gaussian(k)[0] for k in range(3)]
    parts = [JointDistribution(GaussianMarginals(j.mean, j.std**2), j) for j in joints]
    return MixtureDistribution(WEIGHTS, parts)


def states(n=60, seed=0):
    """Noisy values of rows of the mixture, at noise levels from clean to pure noise."""
    generator = torch.Generator().manual_seed(seed)
    k = torch.arange(n) % 3
    normal, eps = torch.randn(2, n, 3, generator=generator, dtype=torch.float64)
    roots = torch.stack([torch.linalg.cholesky(gaussian(k)[1]) for k in range(3)])
    x0 = MEANS[k] + (roots[k] @ normal[:, :, None])[:, :, 0]
    gamma = 9 * torch.rand(n, 3, generator=generator, dtype=torch.float64) - 6
    gamma[::4, 1] = MISSING
    return torch.sigmoid(-gamma).sqrt() * x0 + torch.sigmoid(gamma).sqrt() * eps, gamma


def dense_posterior(x, gamma):
    """Mean and variance of each component of the mixture given all noisy values."""
    y, noise = x / torch.sigmoid(-gamma).sqrt(), torch.diag_embed(gamma.exp())
    log_weights, means, variances = [], [], []
    for k in range(3):
        covariance = gaussian(k)[1]
        noisy = torch.distributions.MultivariateNormal(MEANS[k], covariance + noise)
        log_weights.append(WEIGHTS[k].log() + noisy.log_prob(y))
        gain = covariance @ torch.linalg.inv(covariance + noise)
        means.append(MEANS[k] + (gain @ (y - MEANS[k])[:, :, None])[:, :, 0])
        variances.append((covariance - gain @ covariance).diagonal(dim1=-2, dim2=-1))
    weight = torch.stack(log_weights).softmax(0)[:, :, None]
    means, variances = torch.stack(means), torch.stack(variances)
    mean = (weight * means).sum(0)
    return mean, (weight * (variances + (means - mean) ** 2)).sum(0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_posterior_of_gaussian_clusters_is_that_of_the_dense_mixture(dtype):
    x, gamma = states()
    found = clustered().to(dtype=dtype).posterior(x.to(dtype), gamma.to(dtype))
    tolerance = 1e-8 if dtype == torch.float64 else 1e-3
    for value, expected in zip(found, dense_posterior(x, gamma), strict=True):
        torch.testing.assert_close(value.double(), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("start", "width"), [(0.0, 1.0), ([0.0, 0.2, 0.4], [0.6] * 3)])
def test_the_flow_of_clusters_is_the_density_of_the_mixture_on_every_path(start, width):
    mixture, covariances = clustered(), torch.stack([gaussian(k)[1] for k in range(3)])
    variances = covariances.diagonal(dim1=1, dim2=2).T
    prior = MixtureMarginals(WEIGHTS.expand(3, 3), MEANS.T, variances)
    path = WindowedGamma([-7.0] * 3, [10.0] * 3, start, width)
    # Near the means, where no covariance is inflated.
    k = torch.arange(9) % 3
    normal = torch.randn(9, 3, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x0 = MEANS[k] + (torch.linalg.cholesky(covariances)[k] @ (0.4 * normal))[:, :, 0]
    found = flow_log_prob(lambda x, g: mixture.posterior(x, g)[0], path, prior, x0, 30)
    noisy = covariances + torch.exp(torch.tensor(-7.0).double()) * torch.eye(3).double()
    exact = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(WEIGHTS),
        torch.distributions.MultivariateNormal(MEANS, noisy),
    )
    torch.testing.assert_close(found, exact.log_prob(x0), rtol=0, atol=1e-2)


def test_a_row_that_fits_no_cluster_is_not_sure_of_the_nearest():
    # Two clusters in line, and rows further and further out beyond the nearer one.
    joints = [JointGaussian(m * torch.ones(2), torch.ones(2), torch.zeros(2, 1)) for m in (0, 1)]
    points = [PointMassMarginals(torch.ones(2, 1), m * torch.ones(2, 1)) for m in (0, 1)]
    parts = [JointDistribution(*part) for part in zip(points, joints, strict=True)]
    mixture = MixtureDistribution(torch.tensor([0.5, 0.5]), parts)
    x = torch.tensor([[1.0], [3.0], [30.0], [1e4]]).expand(-1, 2)
    # The posterior mean is the probability of the second cluster.
    probability = mixture.posterior(x, torch.full((4, 2), -20.0))[0][:, 0]
    torch.testing.assert_close(probability[0].logit(), torch.tensor(1.0))
    assert 0.99 < probability[1] < 0.9999
    assert probability[2] < 0.99 and probability[3] < probability[2]
    assert 0.5 <= probability[3] < 0.51


def test_the_posterior_mean_of_pure_noise_is_the_mean():
    mixture, (x, gamma) = clustered(), states(5)
    mean, _ = mixture.posterior(x, torch.full_like(gamma, 40.0))
    torch.testing.assert_close(mean, (WEIGHTS @ MEANS).expand(5, 3), rtol=1e-5, atol=1e-5)


def one_of_one(marginals, joint):
    """A mixture of a single joint distribution."""
    return MixtureDistribution(ONE, [JointDistribution(marginals, joint)])


@pytest.mark.parametrize("make", [JointDistribution, one_of_one])
def test_missing_components_are_neither_used_nor_counted(make):
    # The others have the distribution of their own factors, also in rows that do not fit.
    joint, left = gaussian(1)[0], [0, 2]
    part = JointGaussian(joint.mean[left], joint.std[left], joint.loadings[left])
    x, gamma = states()
    gamma[:, 1] = MISSING
    missing = torch.tensor([False, True, False]).expand(len(x), -1)
    whole, rest = (make(GaussianMarginals(j.mean, j.std**2), j) for j in (joint, part))
    found = whole.posterior(x, gamma, missing=missing)
    expected = rest.posterior(x[:, left], gamma[:, left])
    for value, own in zip(found, expected, strict=True):
        torch.testing.assert_close(value[:, left], own, rtol=1e-5, atol=1e-5)
    noise = x.clone()
    noise[:, 1] += 5
    assert torch.equal(whole.posterior(noise, gamma, missing=missing)[0], found[0])
    inflated = covariance_inflation(part.condition(x[:, left], gamma[:, left]).distance, 2) > 1
    assert inflated.any() and not inflated.all()


def test_one_cluster_is_a_joint_distribution():
    joint = gaussian(1)[0]
    x, gamma = states()
    marginals = GaussianMarginals(joint.mean, joint.std**2)
    expected = marginals.posterior(*joint.condition_and_update(x, gamma))
    for make in (one_of_one, JointDistribution):
        torch.testing.assert_close(make(marginals, joint).posterior(x, gamma), expected)
    found = JointDistribution(marginals).posterior(x, gamma)
    torch.testing.assert_close(found, marginals.posterior(x, gamma))


def test_it_is_differentiable_both_ways():
    mixture, (x, gamma) = clustered(), states(4)

    def mean(x):
        return mixture.posterior(x, gamma)[0]

    assert torch.autograd.gradcheck(mean, x.requires_grad_())
    x = x.detach()
    load_forward_mode()
    _, slope = torch.func.jvp(mean, (x,), (torch.ones_like(x),))
    h = 1e-6
    finite = (mean(x + h) - mean(x - h)) / (2 * h)
    torch.testing.assert_close(slope, finite, rtol=1e-4, atol=1e-6)


def labelled():
    """A distribution of three components and two indicators of three classes; its moments."""
    generator = torch.Generator().manual_seed(0)
    loadings = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    loadings = 0.9 * loadings / loadings.norm(dim=1, keepdim=True)
    mean = torch.tensor([1.0, -1.0, 5.0, 0.5, 0.3], dtype=torch.float64)
    std = torch.tensor([1.0, 0.3, 2.0, 0.5, 0.45], dtype=torch.float64)
    correlation = loadings @ loadings.T
    correlation.fill_diagonal_(1.0)
    marginals = GaussianMarginals(mean[:3], std[:3] ** 2)
    distribution = JointDistribution(marginals, JointGaussian(mean, std, loadings))
    return distribution, mean, std[:, None] * correlation * std


@pytest.mark.parametrize("label", [0, 1, 2])
def test_the_posterior_given_a_label_is_that_given_its_indicators(label):
    distribution, mean, covariance = labelled()
    x, gamma = states()
    # Rows that fit, so that no covariance is inflated.
    x = torch.sigmoid(-gamma).sqrt() * (mean[:3] + 0.2 * (x - x.mean(0)))
    indicators = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]], dtype=torch.float64)[label]
    noise = torch.diag_embed(torch.cat([gamma.exp(), torch.full((len(x), 2), 1e-5)], 1))
    y = torch.cat([x / torch.sigmoid(-gamma).sqrt(), indicators.expand(len(x), 2)], 1)
    gain = covariance @ torch.linalg.inv(covariance + noise)
    expected = mean + (gain @ (y - mean)[:, :, None])[:, :, 0]
    found, variance = distribution.posterior(x, gamma, torch.full((len(x),), label))
    torch.testing.assert_close(found, expected[:, :3], rtol=0, atol=2e-3)
    exact = (covariance - gain @ covariance).diagonal(dim1=-2, dim2=-1)
    torch.testing.assert_close(variance, exact[:, :3], rtol=5e-3, atol=1e-9)


def test_without_a_label_the_distribution_is_that_of_all_classes():
    distribution, mean, _ = labelled()
    x, gamma = states()
    x = torch.sigmoid(-gamma).sqrt() * (mean[:3] + 0.3 * (x - x.mean(0)))
    joint = distribution.joint
    unlabelled = JointGaussian(joint.mean[:3], joint.std[:3], joint.loadings[:3])
    expected = JointDistribution(distribution.marginals, unlabelled).posterior(x, gamma)
    for labels in (None, torch.full((len(x),), 3)):
        found = distribution.posterior(x, gamma, labels)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("labels", [[1] * 6, [3] * 6, [0, 1, 2, 0, 1, 2], [0, 3, 2, 3, 1, 2]])
def test_rows_at_one_noise_level_have_their_own_labels(labels):
    distribution, _, _ = labelled()
    x, gamma = states(n=6)
    labels, one = torch.tensor(labels), gamma[1:2].expand_as(gamma)
    found = distribution.posterior(x, one, labels)
    for k in range(6):
        alone = distribution.posterior(x[k : k + 1], one[k : k + 1].clone(), labels[k : k + 1])
        for part, expected in zip(found, alone, strict=True):
            torch.testing.assert_close(part.expand_as(x)[k : k + 1], expected)


def test_a_rare_class_does_not_inflate_the_covariance():
    loadings = torch.tensor([[0.6], [0.6], [0.6]], dtype=torch.float64)
    mean, std = torch.tensor([[0.0, 0.0, 1e-4], [1.0, 1.0, 1e-2]], dtype=torch.float64)
    marginals = GaussianMarginals(mean[:2], std[:2] ** 2)
    distribution = JointDistribution(marginals, JointGaussian(mean, std, loadings))
    # The indicator is 100 standard deviations out, and the row where that puts it.
    x, gamma = torch.full((1, 2), 36.0).double(), torch.full((1, 2), -12.0).double()
    conditionals = distribution.joint.condition(
        torch.cat([x, torch.ones(1, 1)], 1), torch.cat([gamma, torch.full((1, 1), -9.0)], 1)
    )
    assert conditionals.distance > 5000
    noisy = torch.full_like(gamma, 9.0)
    found, _ = distribution.posterior(torch.sigmoid(-noisy).sqrt() * x, noisy, torch.tensor([0]))
    # At this noise only the class counts: 0.6 * 0.6 * 100 standard deviations, less its own noise.
    assert (found > 15).all()
