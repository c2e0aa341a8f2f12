"""A basis for each block of columns."""

from numbers import Real
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from gudlearn._constraints import Interval, _BaseComposition
from gudlearn.bases.base import Basis
from gudlearn.bases.identity import IdentityBasis


class BlockBasis(Basis, _BaseComposition):
    """A separate basis for each block of columns.

    Parameters
    ----------
    blocks : list of (name, basis, columns) or None, default=None
        Every column belongs to exactly one block. Columns are an int, a list of ints, a slice of
        ints, a boolean mask, a column name or a list of names. None is one identity block.
        Parameters of a block are set as `name__parameter`.
    whiten : bool, float in [0, 1] or None, default=None
        None keeps the `whiten` of each basis; any other value replaces it in all blocks.

    Attributes
    ----------
    blocks_ : list of (name, fitted basis, column indices)
        Fitted blocks, in the order of the components.
    mean_ : ndarray of shape (n_features,)
        Mean of each column.
    component_variances_ : ndarray of shape (n_components,)
        Variance of each component before scaling; a small positive number for constant ones.
    scale_ : ndarray of shape (n_components,)
        Divisor of each component; 1 for constant components.
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
    Components follow the order of the blocks. The group of a component is the name of its block.
    The natural order goes through the blocks one after another, and within each block follows the
    block's natural order. Components that are data columns keep the name of the column; others are
    called `block__component`.

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

    def __init__(
        self, blocks: list[tuple[str, Basis, Any]] | None = None,
        whiten: bool | float | None = None,
    ) -> None:  # fmt: skip
        self.blocks = blocks
        self.whiten = whiten

    @property
    def _named_bases(self):
        # `get_params` is called before blocks are validated, and must not fail.
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
        """Get the parameters, including those of the blocks.

        Parameters
        ----------
        deep : bool, default=True
            Whether to return the bases by name, and their parameters as `name__parameter`, too.

        Returns
        -------
        params : dict
        """
        return self._get_params("_named_bases", deep=deep)

    def set_params(self, **params):
        """Set parameters, including those of the blocks.

        Parameters
        ----------
        **params : dict
            `blocks`, `whiten`, the name of a block (to replace its basis) or `name__parameter`.

        Returns
        -------
        self : BlockBasis
        """
        self._set_params("_named_bases", **params)
        return self

    def _prepare(self, n_features):
        """Drop the blocks of an earlier fit; `_learn` prepares the new ones."""
        vars(self).pop("blocks_", None)

    def _learn(self, X):
        blocks = self._validated_blocks(X.shape[1])
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

    def _validated_blocks(self, n_features):
        """List (name, basis, column indices), with every column in exactly one block."""
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
        """Yield (basis, column indices, slice of components) of each block."""
        start = 0
        for _, basis, columns in self.blocks_:
            yield basis, columns, slice(start, start + len(columns))
            start += len(columns)

    def rotate(self, centred):
        """Rotate each block by its own basis; see `Basis.rotate`."""
        components = np.empty_like(centred)
        for basis, columns, of_block in self._slices():
            components[:, of_block] = basis.rotate(centred[:, columns])
        return components

    def rotate_back(self, components):
        """Rotate each block back by its own basis; see `Basis.rotate_back`."""
        centred = np.empty_like(components)
        for basis, columns, of_block in self._slices():
            centred[:, columns] = basis.rotate_back(components[:, of_block])
        return centred

    def _component_names(self, input_names):
        names = []
        for name, basis, columns in self.blocks_:
            block_names = basis.get_feature_names_out(input_names[columns])
            block_columns = basis.component_columns()
            if block_columns is None:
                block_columns = np.full(len(block_names), -1)
            names += [
                component if column >= 0 else f"{name}__{component}"
                for component, column in zip(block_names, block_columns, strict=True)
            ]
        return names

    def natural_order(self):
        """Order the blocks one after another; see `Basis.natural_order`."""
        orders, start = [], 0.0
        for _, basis, _ in self.blocks_:
            order = basis.natural_order()
            orders.append(order - order.min() + start)
            start = orders[-1].max() + 1
        return np.concatenate(orders)

    def _groups(self, names):
        return np.repeat(
            [name for name, _, _ in self.blocks_], [len(c) for _, _, c in self.blocks_]
        )

    def component_columns(self):
        """Return the column of each component; see `Basis.component_columns`."""
        columns = []
        for _, basis, indices in self.blocks_:
            within_block = basis.component_columns()
            if within_block is None:
                columns.append(np.full(len(indices), -1))
            else:
                columns.append(np.where(within_block < 0, -1, indices[within_block]))
        columns = np.concatenate(columns)
        return columns if np.any(columns >= 0) else None

    def mixing(self):
        """Label the sets of columns that are mixed, block by block; see `Basis.mixing`."""
        check_is_fitted(self)
        column_labels, component_labels, n_labels = np.zeros(self.n_features_in_, int), [], 0
        for _, basis, columns in self.blocks_:
            block_columns, block_components = basis.mixing()
            column_labels[columns] = block_columns + n_labels
            component_labels.append(block_components + n_labels)
            n_labels += block_columns.max() + 1
        return column_labels, np.concatenate(component_labels)

    def check_missing(self, X):
        """Raise if NaN is in a block that mixes columns; see `Basis.check_missing`."""
        if hasattr(self, "blocks_"):
            for _, basis, columns in self.blocks_:
                basis.check_missing(X[:, columns])

    def _check_missing_components(self, Z):
        for basis, _, members in self._slices():
            basis.check_missing(Z[:, members])

    def component_noise(self, column_std):
        """Compute the noise of the components; see `Basis.component_noise`."""
        noise = [basis.component_noise(column_std[columns]) for _, basis, columns in self.blocks_]
        return None if any(part is None for part in noise) else np.concatenate(noise)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


def _label(column, names):
    return str(column) if names is None else repr(str(names[column]))


def _column_indices(block, columns, n_features, names):
    """Turn ints, slices, masks and names of columns into an array of indices."""
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


def _indices_of_names(block, selected, names):
    if names is None:
        raise ValueError(
            f"Block {block!r} names its columns but X has no column names. "
            "Pass a DataFrame, or the columns' indices."
        )
    index_of = {str(name): index for index, name in enumerate(names)}
    unknown = [str(name) for name in selected if str(name) not in index_of]
    if unknown:
        raise ValueError(
            f"Block {block!r} names column {unknown[0]!r}, which X does not have. "
            f"Its columns are {', '.join(map(repr, list(index_of)[:10]))}."
        )
    return np.array([index_of[str(name)] for name in selected])
