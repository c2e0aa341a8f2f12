"""A basis for each block of columns: selection, naming, nesting."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from gudlearn.bases import BlockBasis, FourierBasis, IdentityBasis, PCABasis

X = np.random.default_rng(0).normal(size=(60, 5)) @ np.random.default_rng(1).normal(size=(5, 5))
FRAME = pd.DataFrame(X, columns=list("abcde"))


@pytest.mark.parametrize(
    "columns, rest",
    [
        ([0, 2], [1, 3, 4]),
        ([-5, -3], slice(1, None, 2)),
        (slice(0, 3, 2), [1, 3, 4]),
        ([True, False, True, False, False], np.array([False, True, False, True, True])),
        (["a", "c"], ["b", "d", "e"]),
        (np.array(["a", "c"]), pd.Index(["b", "d", "e"])),
    ],
    ids=repr,
)
def test_each_block_is_transformed_by_its_own_basis(columns, rest):
    left, right = FRAME.iloc[:, [0, 2]], FRAME.iloc[:, [1, 3, 4]]
    if isinstance(rest, slice):
        right = FRAME.iloc[:, [1, 3]]
    blocks = [("left", PCABasis(), columns), ("right", FourierBasis(), rest)]
    expected = [PCABasis().fit_transform(left), FourierBasis().fit_transform(right)]
    if isinstance(rest, slice):
        blocks.append(("last", IdentityBasis(whiten=False), "e"))
        expected.append(FRAME[["e"]].to_numpy() - FRAME["e"].mean())
    basis = BlockBasis(blocks).fit(FRAME)
    np.testing.assert_allclose(basis.transform(FRAME), np.hstack(expected), atol=1e-12)


def test_default_is_the_identity_basis():
    ours, identity = BlockBasis().fit(FRAME), IdentityBasis().fit(FRAME)
    np.testing.assert_array_equal(ours.transform(FRAME), identity.transform(FRAME))
    mine, its = ours.describe(), identity.describe()
    for name in ("variances", "scale", "order", "names", "columns"):
        np.testing.assert_array_equal(getattr(mine, name), getattr(its, name))
    assert set(mine.groups) == {"identity"}


def test_names_groups_columns_and_order_follow_the_blocks():
    basis = BlockBasis(
        [("one", IdentityBasis(), ["d", "b"]), ("two", FourierBasis(), ["a", "c", "e"])]
    ).fit(FRAME)
    components = basis.describe()
    assert components.names.tolist() == [
        "d", "b", "two__fourier_k0", "two__fourier_k1", "two__fourier_k-1",
    ]  # fmt: skip
    assert components.groups.tolist() == ["one"] * 2 + ["two"] * 3
    assert components.columns.tolist() == [3, 1, -1, -1, -1]
    assert components.order.tolist() == [0, 1, 2, 3, 3]
    assert BlockBasis([("two", PCABasis(), slice(None))]).fit(X).describe().columns is None


def test_blocks_nest():
    inner = BlockBasis([("p", PCABasis(), [0, 1]), ("i", IdentityBasis(), [2])])
    basis = BlockBasis([("x", IdentityBasis(), [4, 3]), ("inner", inner, [2, 0, 1])]).fit(FRAME)
    assert basis.describe().columns.tolist() == [4, 3, -1, -1, 1]
    assert basis.get_feature_names_out()[[2, 4]].tolist() == ["inner__p__pcabasis0", "b"]
    np.testing.assert_allclose(basis.inverse_transform(basis.transform(FRAME)), FRAME, atol=1e-12)


def test_noise_is_independent_if_it_is_in_each_block():
    blocks = [("i", IdentityBasis(), [0, 1]), ("p", PCABasis(), [2, 3, 4])]
    basis = BlockBasis(blocks).fit(X)
    assert basis.noise_std([1, 2, 3, 3, 3]).tolist() == [1, 2, 3, 3, 3]
    assert basis.noise_std([1, 2, 3, 3, 4]) is None


def test_parameters_of_blocks_are_set_by_name():
    basis = BlockBasis([("p", PCABasis(), [0, 1]), ("i", IdentityBasis(), [2, 3, 4])])
    assert basis.get_params()["p__whiten"] is True
    basis = clone(basis).set_params(p__whiten=False, i=FourierBasis())
    assert basis.blocks[0][1].whiten is False
    assert isinstance(basis.fit(X).blocks_[1][1], FourierBasis)
    assert np.all(basis.scale_[:2] == 1)
    with pytest.raises(ValueError, match="Invalid parameter 'softness'"):
        basis.set_params(p__softness=1)


def test_whiten_replaces_that_of_the_blocks_and_not_in_the_specification():
    spec = BlockBasis([("p", PCABasis(), slice(None))], whiten=False)
    assert np.all(spec.fit(X).scale_ == 1)
    assert spec.blocks[0][1].whiten is True
    assert not hasattr(spec.blocks[0][1], "scale_")


P = PCABasis()


@pytest.mark.parametrize(
    "blocks, error, message",
    [
        ([("a", P, [0, 1, 2])], ValueError, "Column 3, 4 of X is in no block. Give every column"),
        (
            [("a", P, slice(None)), ("b", P, [2])],
            ValueError,
            "Column 2 is in block 'a' and again in",
        ),
        ([("a", P, [0, 0])], ValueError, "Column 0 is in block 'a' and again in block 'a'"),
        ([("a", P, slice(None)), ("b", P, [])], ValueError, "Block 'b' has"),
        ([("a", P, [7])], ValueError, "but X has the columns 0 to 4"),
        ([("a", P, [0.5])], ValueError, "Pass ints, a slice, a boolean mask or names"),
        ([("a", P, [True])], ValueError, "mask of block 'a' has 1 entries but X has 5"),
        ([("a", P, "a")], ValueError, "X has no column names. Pass a DataFrame"),
        ([("a", P, slice("a", "c"))], ValueError, "but X has the columns 0 to 4"),
        ([("a", P)], ValueError, "blocks must be a list of"),
        ([(0, P, slice(None))], ValueError, "blocks must be a list of"),
        ([], ValueError, "blocks must be a list of"),
        ([("whiten", P, slice(None))], ValueError, "conflict with constructor arguments"),
        ([("a", "pca", slice(None))], TypeError, "Block 'a' has 'pca' where a basis is needed"),
        ("pca", ValueError, "The 'blocks' parameter of BlockBasis"),
    ],
)
def test_bad_blocks_are_refused(blocks, error, message):
    with pytest.raises(error, match=message):
        BlockBasis(blocks).fit(X)


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="names column 'z', which X does not have. Its columns"):
        BlockBasis([("a", P, ["a", "z"])]).fit(FRAME)
    with pytest.raises(ValueError, match="Column 'e' of X is in no block"):
        BlockBasis([("a", P, list("abcd"))]).fit(FRAME)


def test_missing_components_are_those_of_the_block_that_does_not_mix():
    X = np.random.default_rng(0).normal(size=(20, 3))
    basis = BlockBasis([("mixed", PCABasis(), [0, 2]), ("own", IdentityBasis(), 1)]).fit(X)
    Z = basis.transform(X)
    Z[0, 2] = np.nan
    assert np.isnan(basis.inverse_transform(Z)[0]).tolist() == [False, True, False]
    Z[0, :2] = np.nan
    with pytest.raises(ValueError, match="mixes columns"):
        basis.inverse_transform(Z)
