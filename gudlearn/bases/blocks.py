"""A basis for each group of columns."""

from numbers import Real

import numpy as np
from sklearn.base import clone

from gudlearn._constraints import Interval, _BaseComposition
from gudlearn.bases.base import Basis
from gudlearn.bases.identity import IdentityBasis


class BlockBasis(Basis, _BaseComposition):
    """A basis of its own for each group of columns.

    Parameters
    ----------
    blocks : list of (name, basis, columns) or None, default=None
        Every column belongs to exactly one block. Columns are an int, a list of ints, a slice of
        ints, a boolean mask, a column name or a list of names. None is one identity block.
        Parameters of a block are reached as `name__parameter`.
    whiten : bool, float in [0, 1] or None, default=None
        None leaves to each basis its own `whiten`; any other value is given to all of them.

    Attributes
    ----------
    blocks_ : list of (name, fitted basis, column indices)
        The fitted blocks, in the order of the components.
    mean_ : ndarray of shape (n_features,)
        Mean of each column.
    component_variances_ : ndarray of shape (n_components,)
        Variance of each component before scaling; dead components are floored.
    scale_ : ndarray of shape (n_components,)
        The divisor of each component; 1 for dead components.
    dead_ : ndarray of shape (n_components,)
        True for components that are constant up to rounding.
    log_abs_det_jacobian_ : float
        Logarithm of the Jacobian determinant of `transform`.
    n_components_ : int
        Number of components, equal to the number of columns.
    n_features_in_ : int
        Number of columns seen in fit.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns, if they were strings.

    Notes
    -----
    Components follow the order of the blocks, and each is in the group named after its block. The
    natural order runs through the blocks one after another, in each by its own natural order.
    Components that are data columns keep the column's name; others are called `block__component`.

    Examples
    --------
    >>> import numpy as np
    >>> from gudlearn.bases import BlockBasis, IdentityBasis, PCABasis
    >>> X = np.random.default_rng(0).normal(size=(20, 3))
    >>> basis = BlockBasis([("a", PCABasis(), [0, 2]), ("b", IdentityBasis(), 1)]).fit(X)
    >>> basis.get_feature_names_out().tolist()
    ['a__pcabasis0', 'a__pcabasis1', 'x1']
    """

    _parameter_constraints: dict = {
        "blocks": [list, None],
        "whiten": [None, "boolean", Interval(Real, 0, 1, closed="both")],
    }

    def __init__(self, blocks=None, whiten=None):
        self.blocks = blocks
        self.whiten = whiten

    @property
    def _named_bases(self):
        # get_params meets unchecked blocks, and must not fail on them.
        try:
            return [(name, basis) for name, basis, _ in self.blocks]
        except (TypeError, ValueError):
            return self.blocks

    @_named_bases.setter
    def _named_bases(self, named):
        self.blocks = [
            (name, basis, columns)
            for (name, basis), (_, _, columns) in zip(named, self.blocks, strict=True)
        ]

    def get_params(self, deep=True):
        """Get the parameters, those of the blocks included.

        Parameters
        ----------
        deep : bool, default=True
            Also return the bases by name, and their parameters as `name__parameter`.

        Returns
        -------
        params : dict
        """
        return self._get_params("_named_bases", deep=deep)

    def set_params(self, **params):
        """Set parameters, those of the blocks included.

        Parameters
        ----------
        **params : dict
            `blocks`, `whiten`, a block's name (to replace its basis) or `name__parameter`.

        Returns
        -------
        self : BlockBasis
        """
        self._set_params("_named_bases", **params)
        return self

    def _prepare(self, n_features):
        """Forget the blocks of an earlier fit; each new one prepares its own basis."""
        vars(self).pop("blocks_", None)

    def _learn(self, X):
        blocks = self._checked_blocks(X.shape[1])
        self.blocks_ = []
        for name, basis, columns in blocks:
            basis = clone(basis)
            if self.whiten is not None:
                basis.set_params(whiten=self.whiten)
            self.blocks_.append((name, basis.fit(X[:, columns]), columns))
        fitted = [basis for _, basis, _ in self.blocks_]
        return tuple(
            np.concatenate([getattr(basis, attribute) for basis in fitted])
            for attribute in ("component_variances_", "dead_", "scale_")
        )

    def _checked_blocks(self, n_features):
        """Return (name, basis, column indices) with every column in exactly one block."""
        if self.blocks is None:
            return [("identity", IdentityBasis(), np.arange(n_features))]
        if not self.blocks or not all(
            isinstance(block, tuple) and len(block) == 3 and isinstance(block[0], str)
            for block in self.blocks
        ):
            raise ValueError(
                f"blocks must be a list of (name, basis, columns), got {self.blocks!r}. "
                "Pass None for one identity block."
            )
        self._validate_names([name for name, _, _ in self.blocks])
        names = getattr(self, "feature_names_in_", None)
        blocks, owner = [], {}
        for name, basis, columns in self.blocks:
            if not isinstance(basis, Basis):
                raise TypeError(
                    f"Block {name!r} has {basis!r} where a basis is needed. "
                    "Pass an instance such as IdentityBasis() or PCABasis()."
                )
            indices = _column_indices(name, columns, n_features, names)
            for column in indices.tolist():
                if column in owner:
                    raise ValueError(
                        f"Column {_label(column, names)} is in block {owner[column]!r} and again "
                        f"in block {name!r}. Give every column to exactly one block."
                    )
                owner[column] = name
            blocks.append((name, basis, indices))
        missing = [_label(column, names) for column in range(n_features) if column not in owner]
        if missing:
            raise ValueError(
                f"Column {', '.join(missing[:5])}{', ...' if missing[5:] else ''} of X is in no "
                "block. Give every column to exactly one block."
            )
        return blocks

    def _slices(self):
        """Yield (name, basis, columns, the slice of its components)."""
        start = 0
        for name, basis, columns in self.blocks_:
            yield name, basis, columns, slice(start, start + len(columns))
            start += len(columns)

    def _rotate(self, centred):
        rotated = np.empty_like(centred)
        for _, basis, columns, members in self._slices():
            rotated[:, members] = basis._rotate(centred[:, columns])
        return rotated

    def _rotate_back(self, components):
        rows = np.empty_like(components)
        for _, basis, columns, members in self._slices():
            rows[:, columns] = basis._rotate_back(components[:, members])
        return rows

    def _component_names(self, input_names):
        names = []
        for name, basis, columns in self.blocks_:
            own = basis.get_feature_names_out(input_names[columns])
            is_column = basis.describe().columns
            is_column = np.full(len(own), -1) if is_column is None else is_column
            names += [
                part if column >= 0 else f"{name}__{part}"
                for part, column in zip(own, is_column, strict=True)
            ]
        return names

    def _natural_order(self):
        orders, start = [], 0.0
        for _, basis, _ in self.blocks_:
            order = basis._natural_order()
            orders.append(order - order.min() + start)
            start = orders[-1].max() + 1
        return np.concatenate(orders)

    def _groups(self, names):
        return np.repeat(
            [name for name, _, _ in self.blocks_], [len(c) for _, _, c in self.blocks_]
        )

    def _columns(self):
        columns = []
        for _, basis, indices in self.blocks_:
            own = basis._columns()
            columns.append(np.full(len(indices), -1) if own is None else indices[own])
            if own is not None:
                columns[-1][own < 0] = -1
        columns = np.concatenate(columns)
        return columns if np.any(columns >= 0) else None

    def _mixing(self):
        of_columns, of_components, n_labels = np.zeros(self.n_features_in_, int), [], 0
        for _, basis, columns in self.blocks_:
            own_columns, own_components = basis._mixing()
            of_columns[columns] = own_columns + n_labels
            of_components.append(own_components + n_labels)
            n_labels += own_columns.max() + 1
        return of_columns, np.concatenate(of_components)

    def _check_missing(self, X):
        """Raise where NaN is in a block that mixes columns."""
        if hasattr(self, "blocks_"):
            for _, basis, columns in self.blocks_:
                basis._check_missing(X[:, columns])

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def _component_noise(self, column_std):
        noise = [basis._component_noise(column_std[columns]) for _, basis, columns in self.blocks_]
        return None if any(part is None for part in noise) else np.concatenate(noise)


def _label(column, names):
    return str(column) if names is None else repr(str(names[column]))


def _column_indices(block, columns, n_features, names):
    """Resolve ints, slices, masks and names of columns to an array of indices."""
    if isinstance(columns, slice):
        selected = columns
    else:
        selected = np.atleast_1d(np.asarray(columns))
        if selected.dtype.kind in "UO":
            selected = _indices_of_names(block, selected, names)
        elif selected.dtype.kind == "b" and len(selected) != n_features:
            raise ValueError(
                f"The mask of block {block!r} has {len(selected)} entries but X has {n_features} "
                "features."
            )
        elif selected.dtype.kind not in "biu":
            raise ValueError(
                f"Block {block!r} has columns={columns!r}. Pass ints, a slice, a boolean mask or "
                "names of columns."
            )
    try:
        indices = np.arange(n_features)[selected]
    except (IndexError, TypeError) as error:
        raise ValueError(
            f"Block {block!r} has columns={columns!r} but X has the columns 0 to {n_features - 1}."
        ) from error
    if len(indices) == 0:
        raise ValueError(f"Block {block!r} has no columns. Leave it out.")
    return indices


def _indices_of_names(block, wanted, names):
    if names is None:
        raise ValueError(
            f"Block {block!r} names its columns but X has no column names. "
            "Pass a DataFrame, or the columns' indices."
        )
    known = {str(name): index for index, name in enumerate(names)}
    unknown = [str(name) for name in wanted if str(name) not in known]
    if unknown:
        raise ValueError(
            f"Block {block!r} names column {unknown[0]!r}, which X does not have. "
            f"Its columns are {', '.join(map(repr, list(known)[:10]))}."
        )
    return np.array([known[str(name)] for name in wanted])
