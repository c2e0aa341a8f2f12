"""Laws of all components together, against the dense mixture of Gaussians."""

import pytest
import torch

from gudlearn.diffusion.gammas import load_forward_mode
from gudlearn.diffusion.joint import JointGaussian
from gudlearn.diffusion.laws import ClusteredLaw, JointLaw
from gudlearn.diffusion.marginals import AtomMarginals, GaussianMarginals

SHARES = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
MEANS = torch.tensor([[0.0, 0.0, 0.0], [3.0, -1.0, 2.0], [-2.0, 0.0, 1.0]], dtype=torch.float64)
MISSING = 16.0


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
    laws = [JointLaw(GaussianMarginals(j.mean, j.std**2), j) for j in joints]
    return ClusteredLaw(SHARES, laws)


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


def test_a_row_that_fits_no_cluster_is_not_sure_of_the_nearest():
    # Two clusters in line, and rows further and further out beyond the nearer one.
    joint = [JointGaussian(m * torch.ones(2), torch.ones(2), torch.zeros(2, 1)) for m in (0.0, 1.0)]
    atoms = [AtomMarginals(torch.ones(2, 1), m * torch.ones(2, 1)) for m in (0.0, 1.0)]
    pairs = zip(atoms, joint, strict=True)
    law = ClusteredLaw(torch.tensor([0.5, 0.5]), [JointLaw(*p) for p in pairs])
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


def test_one_cluster_is_a_joint_law():
    joint = gaussian(1)[0]
    x, gamma = states()
    marginals = GaussianMarginals(joint.mean, joint.std**2)
    one = ClusteredLaw(torch.ones(1).double(), [JointLaw(marginals, joint)])
    for law in (one, JointLaw(marginals, joint)):
        for value, expected in zip(
            law.posterior(x, gamma), marginals.posterior(*joint.absorb(x, gamma)), strict=True
        ):
            torch.testing.assert_close(value, expected)
    found = JointLaw(marginals).posterior(x, gamma)
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
