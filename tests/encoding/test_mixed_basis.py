"""Components of rows of numbers and categories: a basis of the numbers, then the codes."""

import numpy as np
import pandas as pd
import pytest

from gudlearn import IdentityBasis, PCABasis
from gudlearn.encoding.mixed_basis import MixedBasis

# Columns 0 and 3 are categories, 3 a constant one.
NAMES, CATEGORIES = ["kind", "a", "b", "one", "c"], np.array([0, 3])
NUMBERS = [1, 2, 4]
# The user's order of the columns.
POSITION = np.array([4, 0, 1, 2, 3])


def rows(n=60):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 5)) @ np.diag([1, 3, 1, 1, 0.1]) + [0, 5, 0, 0, -2]
    X[:, 2] += X[:, 1]
    X[:, 0], X[:, 3] = rng.integers(0, 3, n), 0
    return X


def mixed(numeric):
    return MixedBasis(numeric, CATEGORIES, np.array([0.6, 0.0]), NAMES, POSITION)


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("numeric", [IdentityBasis(), PCABasis(), PCABasis(whiten=True)], ids=repr)
def test_numbers_have_the_components_of_their_basis_and_codes_are_unchanged(numeric, named):
    X = rows()
    frame = pd.DataFrame(X, columns=NAMES) if named else X
    basis = mixed(numeric).fit(frame)
    alone = type(numeric)(**numeric.get_params()).fit(X[:, NUMBERS])
    Z = basis.transform(frame)
    np.testing.assert_allclose(Z[:, :3], alone.transform(X[:, NUMBERS]))
    np.testing.assert_array_equal(Z[:, 3:], X[:, CATEGORIES])
    np.testing.assert_allclose(basis.inverse_transform(Z), X, atol=1e-12)
    # Codes are neither centred nor scaled.
    assert (basis.scale_[3:] == 1).all() and (basis.mean_[CATEGORIES] == 0).all()
    np.testing.assert_array_equal(basis.dead_, [*alone.dead_, False, True])
    np.testing.assert_allclose(basis.mean_[NUMBERS], alone.mean_)


def test_columns_are_mixed_as_the_basis_of_the_numbers_says():
    for numeric, n_blocks in ((IdentityBasis(), 5), (PCABasis(), 3)):
        columns, components = mixed(numeric).fit(rows()).mixing()
        assert len(set(columns)) == len(set(components)) == n_blocks
        # A category is a block of its own.
        for k, j in enumerate(CATEGORIES):
            assert (columns == columns[j]).sum() == 1
            assert np.flatnonzero(components == columns[j]).tolist() == [3 + k]


def test_components_that_are_columns_come_in_the_users_order():
    described = mixed(IdentityBasis()).fit(rows()).describe()
    assert described.names.tolist() == ["x0", "x1", "x2", "kind", "one"]
    np.testing.assert_array_equal(described.columns, [1, 2, 4, 0, 3])
    np.testing.assert_array_equal(described.order, POSITION[described.columns])
    named = mixed(IdentityBasis()).fit(pd.DataFrame(rows(), columns=NAMES)).describe()
    assert named.names.tolist() == ["a", "b", "c", "kind", "one"]


def test_rotated_components_are_no_columns():
    basis = mixed(PCABasis()).fit(rows())
    described = basis.describe()
    np.testing.assert_array_equal(described.columns, [-1, -1, -1, 0, 3])
    # The natural order is that of the variances; a category's is its probability to differ.
    alone = PCABasis().fit(rows()[:, NUMBERS])
    np.testing.assert_array_equal(described.order[:3], alone.describe().order)
    assert described.order[3] == pytest.approx(-np.log(0.6))


def test_rows_of_categories_alone_need_no_basis():
    names, codes = ["u", "v"], np.array([[0.0, 1.0], [2.0, 0.0]])
    basis = MixedBasis(PCABasis(), np.arange(2), np.array([0.5, 0.5]), names, np.arange(2))
    basis.fit(codes)
    np.testing.assert_array_equal(basis.transform(codes), codes)
    np.testing.assert_array_equal(basis.inverse_transform(codes), codes)
    np.testing.assert_array_equal(basis.noise_std(np.ones(2)), [0, 0])
    assert [part.tolist() for part in basis.mixing()] == [[0, 1], [0, 1]]
    assert basis.describe().order.tolist() == [0, 1]


def test_a_missing_code_may_lie_beside_a_basis_that_mixes_numbers():
    X = rows()
    X[0, 0] = np.nan
    basis = mixed(PCABasis()).fit(rows())
    basis.check_missing(X)
    X[0, 1] = np.nan
    with pytest.raises(ValueError, match="contains NaN, but PCABasis mixes"):
        basis.check_missing(X)
