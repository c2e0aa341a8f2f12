r"""The contract of bases: z = U (x - mean) / scale, with an orthonormal and complete U.

Everything that scores in a basis relies on these properties: the inverse gives rows back, the
log-determinant makes densities those of the rows, and schedules read variances and names.
"""

import pickle
from collections.abc import Callable, Mapping
from functools import partial
from numbers import Integral
from typing import Any, Literal
from unittest import SkipTest

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from gudlearn._typing import RandomState
from gudlearn.bases.base import Basis
from gudlearn.testing.running import bind, refused, require, run_checks

N_ROWS = 100
# Rounding errors of float64, relative to the largest value, with room for a bad condition.
RTOL = 1e-9


class BasisCase:
    """A basis under test, rows with columns of different scales, and its fit to them.

    Parameters
    ----------
    basis : Basis
        Never fitted itself.
    n_features : int
        Number of columns of the rows.
    random_state : int
        Seed of the rows.
    """

    def __init__(self, basis, n_features, random_state):
        if not isinstance(basis, Basis):
            raise TypeError(
                f"basis must be an instance of a subclass of gudlearn.bases.Basis, got {basis!r}."
            )
        if not isinstance(n_features, Integral) or n_features < 2:
            raise ValueError(f"n_features={n_features!r} must be a whole number of at least 2.")
        self.basis, self.n_features = basis, int(n_features)
        rng = np.random.default_rng(random_state)
        mixing = rng.normal(size=(n_features, n_features)) / np.sqrt(n_features)
        rows = rng.normal(size=(N_ROWS, n_features)) @ mixing
        self.X = 5 * rng.normal(size=n_features) + rows * np.geomspace(0.1, 30, n_features)
        self._fitted = None

    @property
    def fitted(self):
        """The basis fitted to X, once."""
        if self._fitted is None:
            self._fitted = self.fit(self.X)
        return self._fitted

    def fit(self, X):
        """Fit a clone."""
        return clone(self.basis).fit(X)

    def jacobian(self):
        """Matrix of the map X -> Z of the fitted basis, one row per component."""
        units = np.vstack([np.zeros(self.n_features), np.eye(self.n_features)])
        Z = self.fitted.transform(units)
        return (Z[1:] - Z[0]).T

    def rotation(self):
        """The Jacobian before scaling: U."""
        return self.jacobian() * self.fitted.scale_[:, None]


def _close(found, expected, rtol=RTOL):
    size = max(1.0, np.abs(expected).max())
    return np.shape(found) == np.shape(expected) and np.allclose(
        found, expected, rtol=rtol, atol=rtol * size
    )


def check_basis_inverse(case):
    """inverse_transform gives back every row, also rows far from those of the fit."""
    basis = case.fitted
    for what, X in (("the rows of fit", case.X), ("rows far away", 100 * case.X)):
        found = basis.inverse_transform(basis.transform(X))
        require(
            _close(found, X),
            f"inverse_transform(transform(X)) differs from X by {np.abs(found - X).max():g} for "
            f"{what}. A basis is complete: nothing may be truncated.",
        )


def check_basis_affine(case):
    """transform is affine, and treats every row by itself."""
    basis, X = case.fitted, case.X
    Z = basis.transform(X)
    middle = basis.transform(0.25 * X[:50] + 0.75 * X[50:])
    require(
        _close(middle, 0.25 * Z[:50] + 0.75 * Z[50:]),
        "transform is not affine: a mean of rows is not sent to the mean of their components.",
    )
    require(
        _close(basis.transform(X[7:8]), Z[7:8]), "transform of a row depends on the other rows."
    )


def check_basis_orthonormal(case):
    """The rotation, which is the Jacobian times scale_, is orthonormal."""
    U = case.rotation()
    distance = np.abs(U @ U.T - np.eye(case.n_features)).max()
    require(
        distance < RTOL,
        f"U U^T differs from the identity by {distance:g}, where U is the Jacobian of transform "
        "times scale_. Noise that is white in columns would not be white in components.",
    )


def check_basis_log_determinant(case):
    """log_abs_det_jacobian_ is the logarithm of the determinant of the Jacobian of transform."""
    expected, found = np.linalg.slogdet(case.jacobian())[1], case.fitted.log_abs_det_jacobian_
    require(
        _close(found, expected),
        f"log_abs_det_jacobian_ is {found:g}, but the Jacobian of transform has {expected:g}. "
        "Scores would be in other units than X.",
    )


def check_basis_rotate(case):
    """rotate gives components before scaling, and rotate_back is its inverse."""
    basis = case.fitted
    components = basis.rotate(case.X - basis.mean_)
    require(
        _close(components, basis.transform(case.X) * basis.scale_),
        "rotate(X - mean_) differs from transform(X) * scale_.",
    )
    require(
        _close(basis.rotate_back(components) + basis.mean_, case.X),
        "rotate_back is not the inverse of rotate.",
    )


def check_basis_variances(case):
    """component_variances_ are positive, and their sum is that of the variances of the columns."""
    variances = case.fitted.component_variances_
    require(
        bool(np.isfinite(variances).all() and (variances > 0).all()),
        "component_variances_ must be finite and positive, also for constant components.",
    )
    expected = case.X.var(axis=0).sum()
    require(
        _close(variances.sum(), expected),
        f"component_variances_ sum to {variances.sum():g}, the variances of the columns to "
        f"{expected:g}: they are variances before scaling.",
    )


def check_basis_scale(case):
    """scale_ is the variance to the power whiten / 2."""
    basis = case.fitted
    if basis.whiten is None:
        raise SkipTest("whiten is None: parts of the basis have their own")
    expected = basis.component_variances_ ** (float(basis.whiten) / 2)
    require(
        _close(basis.scale_, expected),
        f"scale_ is {basis.scale_}, but component_variances_ ** (whiten / 2) is {expected}.",
    )


def check_basis_constant_columns(case):
    """Constant columns are restored, with finite components and finite variances."""
    X = case.X.copy()
    X[:, [0, -1]] = [0.1, -300.0]
    basis = case.fit(X)
    Z = basis.transform(X)
    require(
        bool(np.isfinite(Z).all() and (basis.component_variances_ > 0).all()),
        "If columns are constant, components must be finite and component_variances_ positive.",
    )
    require(_close(basis.inverse_transform(Z), X), "Constant columns do not come back.")
    all_equal = case.fit(X[:1])
    require(
        _close(all_equal.inverse_transform(all_equal.transform(X[:1])), X[:1])
        and bool(np.asarray(all_equal.dead_).all()),
        "After a fit to one row all components must be constant (dead_), and give it back.",
    )


def check_basis_dtype(case):
    """Components and rows are float32 for float32 and float64 for float64 and integers."""
    for dtype, expected in (("f4", "f4"), ("f8", "f8"), ("i8", "f8")):
        X = case.X.astype(dtype)
        basis = case.fit(X)
        Z = basis.transform(X)
        found = {"transform": Z.dtype, "inverse_transform": basis.inverse_transform(Z).dtype}
        wrong = {name: str(kind) for name, kind in found.items() if kind != np.dtype(expected)}
        require(not wrong, f"For X of dtype {np.dtype(dtype)} the dtypes are {wrong}.")


def check_basis_names(case):
    """Components have distinct names, and describe() has one entry for each."""
    names = np.asarray(case.fitted.get_feature_names_out())
    require(
        len(names) == len(set(names)) == case.n_features,
        f"get_feature_names_out must return {case.n_features} distinct names, got {list(names)}.",
    )
    described = case.fitted.describe()
    for field in ("variances", "scale", "order", "names", "groups"):
        value = np.asarray(getattr(described, field))
        require(
            value.shape == (case.n_features,),
            f"describe().{field} must have one entry for each of the {case.n_features} components, "
            f"but is of shape {value.shape}.",
        )
    require(bool(np.isfinite(described.order).all()), "natural_order() must be finite numbers.")


def check_basis_noise(case):
    """noise_std is the noise in the components, or None if it is correlated between them."""
    U = case.rotation()
    for column_std in (np.full(case.n_features, 0.7), np.linspace(1, 2, case.n_features)):
        covariance = U * column_std**2 @ U.T
        correlated = np.abs(covariance - np.diag(np.diag(covariance))).max() > 1e-6
        found = case.fitted.noise_std(column_std)
        require(
            (found is None) == bool(correlated),
            "noise_std must be None exactly where noise of the columns is correlated between "
            f"components; for {column_std} it is {found}.",
        )
        if found is not None:
            require(
                _close(found, np.sqrt(np.diag(covariance))),
                "noise_std differs from the standard deviations of the columns' noise in the "
                "components.",
            )


def check_basis_mixing(case):
    """A component depends on no column of another label, and equals the column it is said to."""
    columns, components = (np.asarray(labels) for labels in case.fitted.mixing())
    U = case.rotation()
    require(
        np.abs(U[components[:, None] != columns]).max(initial=0) < RTOL,
        "A component depends on a column with another label of mixing().",
    )
    column = case.fitted.component_columns()
    if column is not None:
        equal = np.flatnonzero(np.asarray(column) >= 0)
        expected = np.eye(case.n_features)[np.asarray(column)[equal]]
        require(
            _close(U[equal], expected),
            "component_columns() names a column that the component is not equal to.",
        )


def check_basis_copies(case):
    """A pickled basis computes the same, a clone has the same parameters and is not fitted."""
    restored = pickle.loads(pickle.dumps(case.fitted))
    require(
        np.array_equal(restored.transform(case.X), case.fitted.transform(case.X)),
        "A pickled basis gives other components.",
    )
    copied = clone(case.fitted)
    require(
        repr(copied.get_params()) == repr(case.basis.get_params()),
        f"fit or clone changes parameters: {case.basis.get_params()} became {copied.get_params()}.",
    )
    error = refused(lambda: copied.transform(case.X), (Exception,))
    require(
        isinstance(error, NotFittedError),
        f"transform before fit must raise NotFittedError, not {error!r}.",
    )


#: The checks, in the order in which they run.
CHECKS = [
    check_basis_inverse,
    check_basis_affine,
    check_basis_orthonormal,
    check_basis_log_determinant,
    check_basis_rotate,
    check_basis_variances,
    check_basis_scale,
    check_basis_constant_columns,
    check_basis_dtype,
    check_basis_names,
    check_basis_noise,
    check_basis_mixing,
    check_basis_copies,
]


def basis_checks(basis: Basis, *, n_features: int = 12, random_state: RandomState = 0):
    """Yield every check of the contract of bases, bound to a basis.

    Parameters
    ----------
    basis : Basis
        An instance.
    n_features : int, default=12
        Number of columns of the data; that of ``shape`` and ``channels``, where it has them.
    random_state : int, default=0
        Seed of the data.

    Yields
    ------
    basis : Basis
        The same at every time.
    check : callable
        Takes the basis, and raises if it does not keep the contract.
    """
    make = partial(BasisCase, n_features=n_features, random_state=random_state)
    for check in bind(CHECKS, make, basis):
        yield basis, check


def check_basis(
    basis: Basis, *, n_features: int = 12,
    expected_failed_checks: Mapping[str, str] | Callable[[Any], Mapping[str, str]] | None = None,
    on_skip: Literal["warn"] | None = "warn", on_fail: Literal["raise", "warn"] | None = "raise",
    callback: Callable[..., Any] | None = None, random_state: RandomState = 0,
):  # fmt: skip
    """Check whether a basis keeps the contract of bases.

    Parameters
    ----------
    basis : Basis
        An instance of your subclass. It is cloned, and not fitted itself.
    n_features : int, default=12
        Number of columns of the data, at least 2; that of ``shape`` and ``channels``, where the
        basis has them.
    expected_failed_checks, on_skip, on_fail, callback, random_state
        As in `check_generator`.

    Returns
    -------
    results : list of dict
        As of `check_generator`.

    Examples
    --------
    >>> from gudlearn import PCABasis
    >>> from gudlearn.testing import check_basis
    >>> {result["status"] for result in check_basis(PCABasis(whiten=0.5))}
    {'passed'}
    """
    make = partial(BasisCase, n_features=n_features, random_state=random_state)
    return run_checks(
        bind(CHECKS, make, basis), basis, on_fail=on_fail, on_skip=on_skip,
        expected_failed_checks=expected_failed_checks, callback=callback,
    )  # fmt: skip
