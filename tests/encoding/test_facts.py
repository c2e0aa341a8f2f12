"""Facts about all rows, which an encoding does not take from a sample."""

import numpy as np
import pytest

from gudlearn import BlockBasis, FourierBasis, IdentityBasis, PCABasis, Schema, WaveletBasis
from gudlearn.bases.base import Basis
from gudlearn.data.rows import Rows
from gudlearn.encoding.encoding import Encoding
from gudlearn.encoding.facts import RowFacts, StreamFacts, rows_with_moments
from small import whole
from streams import mixed_rows


def facts_of(schema, values, basis, n_blocks=7):
    """Facts of values that come in blocks."""
    facts, start = StreamFacts(schema, basis), 0
    for block in np.array_split(values, n_blocks):
        facts.add(block, start)
        start += len(block)
    return facts


def fields(n=1000):
    """A schema with a declared grid, and fields of rows."""
    frame = mixed_rows(n)
    schema = Schema().build(frame, list(frame))
    return schema, schema.read(frame)


def test_facts_of_a_stream_are_those_of_all_rows():
    schema, values = fields()
    stream, inside = facts_of(schema, values, IdentityBasis()), RowFacts(Rows.of(values))
    assert stream.n_rows == inside.n_rows == 1000
    for one, other in zip(stream.extremes(), inside.extremes(), strict=True):
        assert np.array_equal(one, other)
    for j in np.flatnonzero(schema.masked):
        counts = [facts.level_counts(j, schema.n_levels[j]) for facts in (stream, inside)]
        assert np.array_equal(*counts) and counts[0].sum() > 0
    bins = schema.bins
    with_tables = 0
    for j in np.flatnonzero(bins.discrete):
        low, high = (e[j] for e in inside.extremes())
        if (high - low) / bins.width[j] > 2000:
            continue
        one, other = (f.bin_table(np.array([j]), bins, None, None, None) for f in (stream, inside))
        assert np.array_equal(one.log_pmf, other.log_pmf) and one.first == other.first
        with_tables += 1
    assert with_tables
    mean, variance = stream.moments()
    assert mean == pytest.approx(np.nanmean(values, axis=0), rel=1e-12)
    assert variance == pytest.approx(np.nanvar(values, axis=0), rel=1e-10)
    gaps = np.isnan(stream.row_of_gaps()[0])
    assert np.array_equal(gaps, np.isnan(values).any(0))


@pytest.mark.parametrize("shift", [0.0, 1e7])
def test_covariances_are_merged_as_by_chan(shift):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 4)) @ rng.normal(size=(4, 4)) + shift
    X[:3, 1] = np.nan
    schema = Schema().build(X, list("abcd"))
    covariance = facts_of(schema, X, PCABasis()).covariance()
    complete = [0, 2, 3]
    expected = np.cov(X[:, complete], rowvar=False, bias=True)
    assert covariance[np.ix_(complete, complete)] == pytest.approx(expected, rel=1e-8)
    assert covariance[1, 1] == pytest.approx(np.nanvar(X[:, 1]), rel=1e-8)
    assert not covariance[1, complete].any()


def test_two_rows_for_each_column_have_any_moments():
    rng = np.random.default_rng(0)
    root, mean = rng.normal(size=(5, 3)), rng.normal(size=5)
    X = rows_with_moments(mean, root @ root.T)
    assert X.shape == (10, 5)
    assert X.mean(0) == pytest.approx(mean, abs=1e-12)
    assert np.cov(X, rowvar=False, bias=True) == pytest.approx(root @ root.T, abs=1e-12)


class Unknown(IdentityBasis):
    """A basis that may look at anything."""


BASES = {
    "identity": IdentityBasis(), "pca": PCABasis(), "fourier": FourierBasis(),
    "wavelet": WaveletBasis(),
    "blocks": BlockBasis([("a", PCABasis(), [0, 2]), ("b", IdentityBasis(), [1, 3])]),
}  # fmt: skip


@pytest.mark.parametrize("name", BASES)
@pytest.mark.parametrize("width", ["auto", 1.0], ids=["continuous", "bins"])
def test_a_basis_of_a_stream_is_that_of_all_rows(name, width):
    if name == "wavelet":
        pytest.importorskip("pywt")
    basis = BASES[name]
    X = np.random.default_rng(0).normal(size=(400, 4)).cumsum(1)
    X = np.rint(5 * X) if width == 1.0 else X
    X[:, 3] = 7.0
    on_line = type(basis) is not IdentityBasis
    schema = Schema(gaussianize=False).build(X, list("abcd"), bin_width=width, on_line=on_line)

    def encoding(facts, rows):
        one = Encoding(schema.bins, type(basis)(**basis.get_params(deep=False)), fields=schema)
        return one.fit(rows, facts)

    inside = encoding(None, Rows.of(X))
    outside = encoding(facts_of(schema, X, basis), Rows.of(X[:200]))
    assert outside.basis.mean_ == pytest.approx(inside.basis.mean_, abs=1e-12)
    assert outside.basis.mean_[3] == 7.0 and outside.constant[3]
    # Noise inside bins has its variance in one, and that of 400 draws in the other.
    tolerance = 1e-10 if not outside.dequantised.any() else 0.1
    assert outside.basis.scale_ == pytest.approx(inside.basis.scale_, rel=tolerance)
    z = inside.basis.transform(X), outside.basis.transform(X)
    if tolerance < 0.1:
        assert np.abs(z[0]) == pytest.approx(np.abs(z[1]), abs=1e-6)
    assert np.array_equal(outside.seen, inside.seen)


def test_a_basis_that_may_look_at_anything_is_fitted_to_the_sample():
    schema, values = fields(200)
    facts = facts_of(schema, values, Unknown())
    assert isinstance(Unknown(), Basis)
    assert facts.for_basis(Unknown(), values, 0.0, None) is values


def test_a_value_off_a_declared_grid_is_found_in_any_block():
    X = whole(70)
    schema = Schema().build(X, ["a", "b", "c"], bin_width=1.0)
    X[66, 1] += 0.5
    with pytest.raises(ValueError, match="Column 'b' holds .* in row 66, which"):
        facts_of(schema, X, IdentityBasis())
