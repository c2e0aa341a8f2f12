"""From rows to components: names, blocks, and which columns are observed through noise."""

import numpy as np
import pandas as pd
import pytest
import torch

from gudlearn import (
    BlockBasis,
    FourierBasis,
    GUDGenerator,
    IdentityBasis,
    PCABasis,
    Schema,
    SequentialSchedule,
    WaveletBasis,
)
from small import continuous, small, whole

# Untrained, and components are independent.
APART = {"max_iter": 0, "preconditioning": "marginal"}


def frame(X):
    return pd.DataFrame(X, columns=["a", "b", "c", "d"][: X.shape[1]])


def test_schedules_and_blocks_accept_column_names():
    X = frame(continuous())
    gen = small(schedule=SequentialSchedule(window=1, order=["c", "a", "b"]), max_iter=0).fit(X)
    # What is generated first is noised last: half-way c is clean, a is active, b is noise.
    log_snr = gen.log_snr([0.5])[0]
    assert log_snr[2] > log_snr[0] + 1 > log_snr[1] + 2
    basis = BlockBasis([("p", PCABasis(), ["c", "a"]), ("i", IdentityBasis(), "b")])
    gen = small(basis=basis, max_iter=1).fit(X)
    assert gen.basis_.get_feature_names_out().tolist() == ["p__pcabasis0", "p__pcabasis1", "b"]
    assert np.isfinite(gen.score_samples(X)).all()
    assert gen.sample(3).columns.tolist() == ["a", "b", "c"]


def test_independent_blocks_score_as_they_do_alone():
    X = np.hstack([whole(200, 2), continuous(200, 2), whole(200, 1, seed=3)])
    basis = BlockBasis(
        [("bins", IdentityBasis(), [0, 4]), ("p", PCABasis(), [2, 3]), ("w", WaveletBasis(), [1])]
    )
    width = [1.0, np.nan, np.nan, np.nan, 1.0]
    # The wavelet of one column is that column, which alone would be mapped to a normal one.
    apart = {**APART, "schema": Schema(gaussianize=False)}
    score = small(basis=basis, bin_width=width, **apart).fit(X).score_samples(X[:20])
    parts = [
        small(bin_width=1.0, **apart).fit(X[:, [0, 4]]).score_samples(X[:20, [0, 4]]),
        small(basis="pca", bin_width=None, **apart).fit(X[:, 2:4]).score_samples(X[:20, 2:4]),
        small(bin_width=None, **apart).fit(X[:, [1]]).score_samples(X[:20, [1]]),
    ]
    # Bins differ by 2e-4, the overlap of neighbours under the noise.
    np.testing.assert_allclose(score, np.sum(parts, axis=0), rtol=0, atol=1e-3)


def test_columns_that_are_components_keep_their_bins_beside_a_rotated_block():
    X = np.hstack([whole(200, 2), whole(200, 2, seed=1)])
    basis = BlockBasis([("i", IdentityBasis(), [0, 2]), ("p", PCABasis(), [1, 3])])
    gen = small(basis=basis, bin_width=1.0, **APART).fit(X)
    split = gen.score_components(X[:10])
    assert split.shape == (10, 8)
    np.testing.assert_allclose(split.sum(1), gen.score_samples(X[:10]), rtol=0, atol=1e-9)
    alone = small(bin_width=1.0, **APART).fit(X[:, [0, 2]]).score_components(X[:10, [0, 2]])
    np.testing.assert_allclose(split[:, :2], alone, rtol=0, atol=1e-9)
    assert (split[:, [4, 6]] == 0).all() and (split[:, [5, 7]] < 0).all()
    # Samples of a rotated block lie on the grid too.
    samples = gen.sample(50)
    assert (samples == np.rint(samples)).all()


@pytest.mark.parametrize("basis", ["pca", FourierBasis(), WaveletBasis()], ids=repr)
@pytest.mark.parametrize("width", [1.0, [1.0, np.nan, 1.0, 1.0]], ids=["discrete", "mixed"])
def test_flow_and_bound_agree_on_bins_in_rotated_bases(basis, width, monkeypatch):
    # Where some columns are continuous the others are dequantised, by the same draws in both.
    monkeypatch.setattr("gudlearn.model.fitted._DEQUANTISATION_DRAWS", 1)
    X = np.hstack([whole(300, 2), whole(300, 2, seed=1)])
    if not np.isscalar(width):
        X[:, 1] += np.random.default_rng(0).normal(size=300)
    gen = small(basis=basis, bin_width=width, max_iter=0).fit(X)
    difference = -gen.score_samples(X[:6])
    difference += gen.set_params(likelihood="flow").score_samples(X[:6])
    # The noise inside both scores of a row has a standard error of 0.1 nats, up to 0.25; the
    # bound is 0.04 too low.
    assert np.abs(difference).max() < 1.3 and abs(difference.mean()) < 0.35


def test_very_rare_bins_score_their_frequencies():
    X = np.zeros((30_000, 2))
    X[7, 0] = 1
    X[:, 1] = np.arange(30_000) % 2
    gen = small(bin_width=1.0, max_iter=0).fit(X)
    rare = gen.score_components(X[6:9])[:, 0]
    # Once in 30,000 rows: log p is about -10.3, and smoothing takes little of it.
    assert -12 < rare[1] < -9 and abs(rare[0]) < 1e-3


@pytest.mark.parametrize("basis", ["identity", "pca"])
def test_the_most_extreme_column_is_found_in_any_basis(basis):
    X = frame(continuous(100))
    X.loc[5, "b"] = 1e12
    gen = GUDGenerator(basis=basis, bin_width=None, max_iter=0).fit(frame(continuous(100)))
    encoding = gen.state_.encoding
    rows = X.to_numpy()
    z = gen.basis_.transform(X) if basis == "pca" else (rows - gen.basis_.mean_) / gen.basis_.scale_
    assert encoding.extreme_column(torch.from_numpy(np.asarray(z))) == "b"


def test_infinite_ends_of_a_range_are_open():
    X = whole(60, 2)
    given = small(bin_width=1.0, bin_range=(0, np.inf), max_iter=0).fit(X).score_samples(X)
    none = small(bin_width=1.0, bin_range=(0, None), max_iter=0).fit(X).score_samples(X)
    np.testing.assert_array_equal(given, none)


def test_values_beyond_all_numbers_have_no_density():
    gen = small(max_iter=0).fit(continuous())
    for likelihood in ("bound", "flow"):
        gen.set_params(likelihood=likelihood)
        score = gen.score_samples([[1e200, 0.0, 0.0], [0.0, 0.0, 0.0]])
        assert score[0] == -np.inf and np.isfinite(score[1])
