"""Constant and duplicate columns, few rows."""

import numpy as np
import pytest

from small import continuous, small, whole

BASES = ["identity", "pca", "fourier", "wavelet", "block"]
KINDS = [(continuous(), None), (whole(), 1.0)]
# Untrained, with independent components: the product of the marginals.
INDEPENDENT = {"max_iter": 0, "preconditioning": "marginal"}
every_kind = pytest.mark.parametrize(("X", "bin_width"), KINDS, ids=["continuous", "discrete"])


@pytest.mark.parametrize("basis", BASES)
@every_kind
def test_constant_columns_come_back_exactly(basis, X, bin_width):
    X = np.column_stack([np.full(40, 3.0), X, np.full(40, 12345.0)])
    gen = small(basis=basis, bin_width=bin_width).fit(X)
    rows = gen.sample(10)
    assert (rows[:, 0] == 3).all()
    assert (rows[:, 4] == 12345).all()
    assert np.isfinite(gen.score_samples(X)).all()
    far = X.copy()
    far[:, 0] += 5
    assert np.isfinite(gen.score_samples(far)).all()
    assert gen.score(far) < gen.score(X) - 3


@pytest.mark.parametrize("basis", ["identity", "pca", "block"])
@every_kind
def test_constant_columns_contribute_nothing(basis, X, bin_width):
    wide = np.column_stack([np.full(40, 3.0), X, np.full(40, 7.0)])
    parameters = {"basis": basis, "bin_width": bin_width, **INDEPENDENT}
    # The noise of a bin reaches past its neighbour with a probability of about 1e-5.
    np.testing.assert_allclose(
        small(**parameters).fit(wide).score_samples(wide),
        small(**parameters).fit(X).score_samples(X),
        atol=1e-4 if bin_width else 1e-6,
    )


@pytest.mark.parametrize("basis", BASES)
@every_kind
def test_nothing_but_constants_has_probability_one(basis, X, bin_width):
    X = np.tile(X[:1], (5, 1))
    gen = small(basis=basis, bin_width=bin_width).fit(X)
    np.testing.assert_array_equal(gen.sample(4), X[:4])
    np.testing.assert_allclose(gen.score_samples(X), 0, atol=1e-4)
    assert gen.weights_ == {}
    assert gen.log_snr([0, 1]).shape == (2, 0)


@pytest.mark.parametrize("basis", BASES)
@every_kind
def test_one_row_fits(basis, X, bin_width):
    gen = small(basis=basis, bin_width=bin_width).fit(X[:1])
    np.testing.assert_array_equal(gen.sample(2), X[[0, 0]])
    assert np.isfinite(gen.score(X[:1]))


@pytest.mark.parametrize("basis", BASES)
@every_kind
def test_duplicate_columns_fit(basis, X, bin_width):
    X = np.column_stack([X, X[:, 0]])
    gen = small(basis=basis, bin_width=bin_width).fit(X)
    assert np.isfinite(gen.score_samples(X)).all()
    assert np.isfinite(gen.sample(5)).all()


@pytest.mark.parametrize("basis", BASES)
def test_fewer_rows_than_columns_fit(basis):
    X = continuous(4, 9)
    gen = small(basis=basis).fit(X)
    assert np.isfinite(gen.score_samples(continuous(4, 9, seed=1))).all()
    assert gen.sample(3).shape == (3, 9)


def test_one_column_fits():
    gen = small().fit(continuous(20, 1))
    assert gen.sample(3).shape == (3, 1)
    assert np.isfinite(gen.score(continuous(20, 1, seed=1)))


def test_equal_rows_can_be_split_for_validation():
    X = np.repeat(whole(2), 10, axis=0)
    gen = small(bin_width=1.0).fit(X)
    assert np.isfinite(gen.score(X))
