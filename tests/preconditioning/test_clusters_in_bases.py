"""Clusters of rows serve every basis, also those that mix columns."""

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from gudlearn import BlockBasis, FourierBasis, IdentityBasis, PCABasis, WaveletBasis
from small import small, whole

N_ROWS, STD = 200, 0.7
BLOCKS = [("mixed", PCABasis(), [0, 2]), ("plain", IdentityBasis(), [1, 3])]
BASES = [
    IdentityBasis(), PCABasis(), FourierBasis(), FourierBasis(shape=(2, 2)), WaveletBasis(),
    BlockBasis(BLOCKS),
]  # fmt: skip
every_basis = pytest.mark.parametrize("basis", BASES, ids=lambda basis: type(basis).__name__)


def three_clusters():
    """Centres of three clusters on a circle, in a plane across four columns, and their rows."""
    rng = np.random.default_rng(1)
    plane = np.linalg.qr(rng.normal(size=(4, 4)))[0][:2]
    angle = 2 * np.pi * np.arange(3) / 3
    centres = 5 * np.stack([np.cos(angle), np.sin(angle)], axis=1) @ plane
    X = centres[rng.integers(0, 3, N_ROWS)] + STD * rng.normal(size=(N_ROWS, 4))
    return centres, X


@every_basis
def test_clusters_are_found_in_every_basis(basis):
    centres, X = three_clusters()
    density = [multivariate_normal(centre, STD**2).logpdf(X) for centre in centres]
    expected = logsumexp(density, axis=0) - np.log(3)
    gen = small(max_iter=0, basis=basis, preconditioning="mixture").fit(X)
    assert len(gen.state_.preconditioner.clusters) > 1
    # At most 0.12 +- 0.05 nats with clusters, and about -0.8 +- 0.06 without.
    difference = gen.score_samples(X) - expected
    assert abs(difference.mean()) < 0.4
    samples = gen.sample(5)
    assert samples.shape == (5, 4) and np.isfinite(samples).all()


@every_basis
def test_clusters_of_discrete_columns_train_and_sample(basis):
    X = np.r_[whole(60, 4), whole(60, 4, seed=1) + 10]
    gen = small(basis=basis, preconditioning="mixture", bin_width=1.0, max_iter=1).fit(X)
    assert np.isfinite(gen.score_samples(X[:5])).all()
    samples = gen.sample(5)
    assert (samples % 1 == 0).all()
