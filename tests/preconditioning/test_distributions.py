"""Laws of all components together, against the dense mixture of Gaussians."""

import pytest
import torch

from gudlearn.diffusion.likelihood import flow_log_prob
from gudlearn.diffusion.paths import WindowedGamma, load_forward_mode
from gudlearn.preconditioning.distributions import JointDistribution, MixtureDistribution
from gudlearn.preconditioning.joint import JointGaussian, covariance_inflation
from gudlearn.preconditioning.marginals import AtomMarginals, GaussianMarginals, MixtureMarginals

SHARES = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
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
    laws = [JointDistribution(GaussianMarginals(j.mean, j.std**2), j) for j in joints]
    return MixtureDistribution(SHARES, laws)


def states(n=60, seed=0):
    """Noisy values of rows of the mixture, clean to lost."""
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
        law = torch.distributions.MultivariateNormal(MEANS[k], covariance + noise)
        log_weights.append(SHARES[k].log() + law.log_prob(y))
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
    law, covariances = clustered(), torch.stack([gaussian(k)[1] for k in range(3)])
    variances = covariances.diagonal(dim1=1, dim2=2).T
    prior = MixtureMarginals(SHARES.expand(3, 3), MEANS.T, variances)
    path = WindowedGamma([-7.0] * 3, [10.0] * 3, start, width)
    # Near the means: no row is doubted.
    k = torch.arange(9) % 3
    normal = torch.randn(9, 3, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x0 = MEANS[k] + (torch.linalg.cholesky(covariances)[k] @ (0.4 * normal))[:, :, 0]
    found = flow_log_prob(lambda x, g: law.posterior(x, g)[0], path, prior, x0, 30)
    blurred = covariances + torch.exp(torch.tensor(-7.0).double()) * torch.eye(3).double()
    exact = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(SHARES),
        torch.distributions.MultivariateNormal(MEANS, blurred),
    )
    torch.testing.assert_close(found, exact.log_prob(x0), rtol=0, atol=1e-2)


def test_a_row_that_fits_no_cluster_is_not_sure_of_the_nearest():
    # Two clusters in line, and rows further and further out beyond the nearer one.
    joint = [JointGaussian(m * torch.ones(2), torch.ones(2), torch.zeros(2, 1)) for m in (0.0, 1.0)]
    atoms = [AtomMarginals(torch.ones(2, 1), m * torch.ones(2, 1)) for m in (0.0, 1.0)]
    pairs = zip(atoms, joint, strict=True)
    law = MixtureDistribution(torch.tensor([0.5, 0.5]), [JointDistribution(*p) for p in pairs])
    x = torch.tensor([[1.0], [3.0], [30.0], [1e4]]).expand(-1, 2)
    # What is read is in which cluster the row is taken to be.
    share = law.posterior(x, torch.full((4, 2), -20.0))[0][:, 0]
    torch.testing.assert_close(share[0].logit(), torch.tensor(1.0))
    assert 0.99 < share[1] < 0.9999
    assert share[2] < 0.99 and share[3] < share[2]
    assert 0.5 <= share[3] < 0.51


def test_of_rows_that_are_lost_the_mean_is_that_of_all():
    law, (x, gamma) = clustered(), states(5)
    mean, _ = law.posterior(x, torch.full_like(gamma, 40.0))
    torch.testing.assert_close(mean, (SHARES @ MEANS).expand(5, 3), rtol=1e-5, atol=1e-5)


def test_what_is_missing_is_neither_heard_nor_counted():
    # Of what is left the law is that of its own factors, also where rows are doubted.
    joint, left = gaussian(1)[0], [0, 2]
    part = JointGaussian(joint.mean[left], joint.std[left], joint.loadings[left])
    x, gamma = states()
    gamma[:, 1] = MISSING
    missing = torch.tensor([False, True, False]).expand(len(x), -1)
    for make in (lambda m, j: JointDistribution(m, j), lambda m, j: MixtureDistribution(ONE, [JointDistribution(m, j)])):
        law, rest = (make(GaussianMarginals(j.mean, j.std**2), j) for j in (joint, part))
        found = law.posterior(x, gamma, missing=missing)
        expected = rest.posterior(x[:, left], gamma[:, left])
        for value, own in zip(found, expected, strict=True):
            torch.testing.assert_close(value[:, left], own, rtol=1e-5, atol=1e-5)
        noise = x.clone()
        noise[:, 1] += 5
        assert torch.equal(law.posterior(noise, gamma, missing=missing)[0], found[0])
    doubted = covariance_inflation(part.condition(x[:, left], gamma[:, left]).distance, 2) > 1
    assert doubted.any() and not doubted.all()


def test_one_cluster_is_a_joint_law():
    joint = gaussian(1)[0]
    x, gamma = states()
    marginals = GaussianMarginals(joint.mean, joint.std**2)
    one = MixtureDistribution(ONE, [JointDistribution(marginals, joint)])
    for law in (one, JointDistribution(marginals, joint)):
        for value, expected in zip(
            law.posterior(x, gamma), marginals.posterior(*joint.condition_and_update(x, gamma)), strict=True
        ):
            torch.testing.assert_close(value, expected)
    found = JointDistribution(marginals).posterior(x, gamma)
    torch.testing.assert_close(found, marginals.posterior(x, gamma))


def test_it_is_differentiable_both_ways():
    law, (x, gamma) = clustered(), states(4)
    assert torch.autograd.gradcheck(lambda x: law.posterior(x, gamma)[0], x.requires_grad_())
    x = x.detach()
    load_forward_mode()
    direction = torch.ones_like(x)
    _, slope = torch.func.jvp(lambda x: law.posterior(x, gamma)[0], (x,), (direction,))
    h = 1e-6
    finite = (law.posterior(x + h, gamma)[0] - law.posterior(x - h, gamma)[0]) / (2 * h)
    torch.testing.assert_close(slope, finite, rtol=1e-4, atol=1e-6)


def labelled(n_values=2, k=0):
    """A law of three components and what tells three classes apart, and its covariance."""
    generator = torch.Generator().manual_seed(k)
    loadings = torch.randn(3 + n_values, 3, generator=generator, dtype=torch.float64)
    loadings = 0.9 * loadings / loadings.norm(dim=1, keepdim=True)
    mean = torch.tensor([1.0, -1.0, 5.0, 0.5, 0.3], dtype=torch.float64)
    std = torch.tensor([1.0, 0.3, 2.0, 0.5, 0.45], dtype=torch.float64)
    correlation = loadings @ loadings.T
    correlation.fill_diagonal_(1.0)
    marginals = GaussianMarginals(mean[:3], std[:3] ** 2)
    law = JointDistribution(marginals, JointGaussian(mean, std, loadings))
    return law, mean, std[:, None] * correlation * std


@pytest.mark.parametrize("label", [0, 1, 2])
def test_the_posterior_given_a_label_is_that_given_its_values(label):
    law, mean, covariance = labelled()
    x, gamma = states()
    # Rows that fit the law are not doubted.
    x = torch.sigmoid(-gamma).sqrt() * (mean[:3] + 0.2 * (x - x.mean(0)))
    value = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]], dtype=torch.float64)[label]
    noise = torch.diag_embed(torch.cat([gamma.exp(), torch.full((len(x), 2), 1e-5)], 1))
    y = torch.cat([x / torch.sigmoid(-gamma).sqrt(), value.expand(len(x), 2)], 1)
    gain = covariance @ torch.linalg.inv(covariance + noise)
    expected = mean + (gain @ (y - mean)[:, :, None])[:, :, 0]
    found, variance = law.posterior(x, gamma, torch.full((len(x),), label))
    torch.testing.assert_close(found, expected[:, :3], rtol=0, atol=2e-3)
    left = (covariance - gain @ covariance).diagonal(dim1=-2, dim2=-1)
    torch.testing.assert_close(variance, left[:, :3], rtol=5e-3, atol=1e-9)


def test_without_a_label_the_law_is_that_of_all_classes():
    law, mean, _ = labelled()
    x, gamma = states()
    x = torch.sigmoid(-gamma).sqrt() * (mean[:3] + 0.3 * (x - x.mean(0)))
    joint = law.joint
    rest = JointDistribution(law.marginals, JointGaussian(joint.mean[:3], joint.std[:3], joint.loadings[:3]))
    for labels in (None, torch.full((len(x),), 3)):
        for part, expected in zip(
            law.posterior(x, gamma, labels), rest.posterior(x, gamma), strict=True
        ):
            torch.testing.assert_close(part, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("labels", [[1] * 6, [3] * 6, [0, 1, 2, 0, 1, 2], [0, 3, 2, 3, 1, 2]])
def test_rows_at_one_level_are_told_by_their_own_labels(labels):
    law, _, _ = labelled()
    x, gamma = states(n=6)
    labels, one = torch.tensor(labels), gamma[1:2].expand_as(gamma)
    found = law.posterior(x, one, labels)
    for k in range(6):
        alone = law.posterior(x[k : k + 1], one[k : k + 1].clone(), labels[k : k + 1])
        for part, expected in zip(found, alone, strict=True):
            torch.testing.assert_close(part.expand_as(x)[k : k + 1], expected)


def test_rows_of_a_rare_class_are_not_doubted():
    loadings = torch.tensor([[0.6], [0.6], [0.6]], dtype=torch.float64)
    mean, std = torch.tensor([[0.0, 0.0, 1e-4], [1.0, 1.0, 1e-2]], dtype=torch.float64)
    law = JointDistribution(GaussianMarginals(mean[:2], std[:2] ** 2), JointGaussian(mean, std, loadings))
    # The value of the class is 100 standard deviations out, and the row where that puts it.
    x, gamma = torch.full((1, 2), 36.0).double(), torch.full((1, 2), -12.0).double()
    heard = law.joint.condition(
        torch.cat([x, torch.ones(1, 1)], 1), torch.cat([gamma, torch.full((1, 1), -9.0)], 1)
    )
    assert heard.distance > 5000
    label = torch.tensor([0])
    lost = torch.full_like(gamma, 9.0)
    found, _ = law.posterior(torch.sigmoid(-lost).sqrt() * x, lost, label)
    # At this noise the class alone tells: 0.6 * 0.6 * 100 standard deviations, but for its noise.
    assert (found > 15).all()
