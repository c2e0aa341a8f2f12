"""Extension of series and fields: checks of a request, and new columns in the shape of X."""

import math

import numpy as np
import torch

from gudlearn._random import derive_seed, seed_keys
from gudlearn.data.columns import check_n_samples
from gudlearn.data.containers import numbers
from gudlearn.data.labels import no_labels
from gudlearn.data.rows import Rows
from gudlearn.diffusion.paths import active_fraction
from gudlearn.model.rolling import Strip, roll
from gudlearn.model.warnings import warn_never_partial

# Noise curves of columns that are active at once may differ by this fraction of their range.
_TOLERANCE = 0.1


class Extension:
    """Continues series, strips or fields, column by column.

    Parameters
    ----------
    state : ModelState
    fitted : FittedModel
    sampler : Sampler
    names : list of str
        Names of the columns of X.
    context, active : int or None
    steps_per_column : int
    side : {"right", "left"}
    """

    def __init__(self, state, fitted, sampler, names, *, context, active, steps_per_column, side):
        check_n_samples(steps_per_column, "steps_per_column")
        if side not in ("right", "left"):
            raise ValueError(f"side={side!r} must be 'right' or 'left'.")
        if state.encoding.masked.any():
            name = state.encoding.bins.names[int(state.encoding.masked.argmax())]
            raise ValueError(
                f"extend moves noisy numbers from column to column, but column {name!r} was found "
                "to hold categories, few values or point masses, which are masked. Fit numbers "
                "with bin_width=None."
            )
        _check_not_warped(state.encoding)
        self.state, self.fitted, self.sampler, self.side = state, fitted, sampler, side
        self.shape = state.container.sample_shape
        if state.has_images and len(self.shape) == 1:
            raise ValueError(
                "extend needs images, but X was fitted as flat rows with "
                f"shape={state.container.shape}. Fit to X of shape (n, height, width[, channels])."
            )
        self.axis = 0 if len(self.shape) == 1 else 1
        self.strip = self._strip(context, active, names)
        self._check_curves()
        path = fitted.components.path
        self.n_steps = math.ceil(steps_per_column / active_fraction(path))

    def extend(self, X_start, n_steps, random_state, scoring=None):
        """X_start with new columns; with a `Scoring`, also their log-likelihoods."""
        if scoring is not None:
            self._check_scores(scoring)
        columns, start = self.columns(X_start, n_steps, random_state)
        longer = self._join(start, list(columns))
        if scoring is None:
            return longer
        return longer, self._log_likelihoods(longer, n_steps, scoring)

    def columns(self, X_start, n_steps, random_state):
        """An iterator of new columns, and X_start as an array in the fitted dtype.

        Without n_steps the iterator has no end.
        """
        X = np.asarray(X_start)
        self._check_start(X)
        observed = np.moveaxis(X, self.axis + 1, 1)
        observed = observed[:, ::-1] if self.side == "left" else observed
        n_context = self.strip.n_context
        start = observed[:, -n_context:].reshape(len(X), n_context, -1)
        seed = derive_seed(random_state)
        rows = self._filler(len(X))
        rows[:, self.strip.place[:n_context]] = start
        self.state.encoding.bins.check(rows)
        warn_never_partial(self.state, "observed values may lead it astray")
        keys = seed_keys(seed, len(X), device=self.fitted.components.device)
        columns = roll(self.fitted, self.strip, start, n_steps, keys, self.sampler, self.n_steps)
        return self._in_shape(columns, len(X)), self._in_fitted_dtype(X)

    def _join(self, start, columns):
        """Concatenate the start and its new columns."""
        parts = [start, *columns] if self.side == "right" else [*columns[::-1], start]
        return np.concatenate(parts, axis=self.axis + 1)

    def _log_likelihoods(self, longer, n_steps, scoring):
        """Log-likelihoods of the last n_steps columns given their context, (n_rows, n_steps)."""
        columns = np.moveaxis(longer, self.axis + 1, 1)
        columns = columns[:, ::-1] if self.side == "left" else columns
        n, width = columns.shape[:2]
        columns, place = columns.reshape(n, width, -1), self.strip.place
        window, n_features = place[: self.strip.n_context + 1], place.size
        given = np.zeros(n_features, bool)
        given[place[: self.strip.n_context]] = True
        labels = no_labels(n, self.state.n_classes)
        log_likelihoods = np.empty((n, n_steps))
        for step in range(n_steps):
            end = width - n_steps + step + 1
            rows = np.full((n, n_features), np.nan)
            rows[:, window] = columns[:, end - len(window) : end]
            log_likelihoods[:, step] = scoring.rows(Rows.of(rows, labels), given)
        return log_likelihoods

    def _check_scores(self, scoring):
        """Raise if columns cannot be scored given their context."""
        rest = np.ones(self.strip.place.size, bool)
        rest[self.strip.place[: self.strip.n_context + 1]] = False
        scoring.check_rest(rest)

    def _in_shape(self, columns, n_rows):
        """New columns in the shape of the data."""
        place, shape = self.strip.place[0], np.delete(self.shape, self.axis)
        filler = self._filler(n_rows)
        for column in columns:
            filler[:, place] = column
            whole = numbers(self.state.restore(filler)).reshape(n_rows, -1)
            yield np.expand_dims(whole[:, place].reshape(n_rows, *shape), self.axis + 1)

    def _filler(self, n_rows):
        """Rows (n_rows, F) of typical values, in which columns are replaced."""
        return np.tile(self.state.encoding.fill_values, (n_rows, 1))

    def _in_fitted_dtype(self, X):
        dtype = numbers(self.state.restore(self._filler(1))).dtype
        with np.errstate(invalid="ignore"):
            whole = X.astype(dtype)
        if dtype.kind in "iub" and (whole != X).any():
            raise ValueError(
                f"X_start holds values that {dtype}, the dtype that was fitted, does not. Round "
                "them, or fit to floats."
            )
        return whole

    def _check_start(self, X):
        """Raise if X_start is not a numeric array of the right shape."""
        if X.dtype.kind not in "iubf":
            raise TypeError(f"X_start has dtype {X.dtype}, but must hold numbers.")
        shape, axis = self.shape, self.axis
        fits = (
            X.ndim == len(shape) + 1
            and len(X) > 0
            and all(
                m == n for a, (m, n) in enumerate(zip(X.shape[1:], shape, strict=True)) if a != axis
            )
        )
        if not fits or X.shape[axis + 1] < self.strip.n_context:
            expected = ", ".join("width" if a == axis else str(n) for a, n in enumerate(shape))
            raise ValueError(
                f"X_start has shape {X.shape}, but must be (n_rows, {expected}) with at least "
                f"one row and a width of at least context={self.strip.n_context}."
            )
        if not np.isfinite(X).all():
            raise ValueError("X_start must be finite: every column of the context is observed.")

    def _check_curves(self):
        """Raise if columns that are active at once do not share one noise curve."""
        if self.strip.n_active == 1:
            return
        path = self.fitted.components.path
        t = torch.linspace(0, 1, 9, device=path.gamma_0.device, dtype=path.gamma_0.dtype)
        progress = (path(t) - path.gamma_0) / (path.gamma_1 - path.gamma_0)
        progress = progress[:, self.strip.component]
        if (progress - progress[:, :1]).abs().max() > _TOLERANCE:
            raise ValueError(
                f"extend moves active={self.strip.n_active} columns along one noise curve, but "
                f"schedule_={self.state.schedule!r} has another one for each. Put LinearSchedule() "
                "in its place, or pass active=1."
            )

    def _strip(self, context, active, names):
        """The `Strip`: positions of its columns among features and components."""
        width = self.shape[self.axis]
        context = max(1, width // 2) if context is None else context
        check_n_samples(context, "context")
        active = max(1, width - context) if active is None else active
        check_n_samples(active, "active")
        if width < context + active:
            raise ValueError(
                f"A strip of {width} columns, as was fitted, is too narrow for context={context} "
                f"and active={active}, which take {context + active}. Make them smaller, or fit "
                "to wider crops."
            )
        place = np.arange(math.prod(self.shape)).reshape(self.shape)
        place = np.moveaxis(place, self.axis, 0).reshape(width, -1)
        place = place[::-1].copy() if self.side == "left" else place
        basis = self.state.encoding.basis
        component = local_components(basis, place)
        if component is None:
            raise ValueError(
                f"basis={basis!r} mixes columns of the strip, or rotates one of them differently "
                "from another, but extend moves noisy values from column to column. Fit with "
                "basis='identity', or with a BlockBasis of one fixed basis, such as WaveletBasis() "
                "or FourierBasis(), for each column, whose entries come in the same order in all."
            )
        self._check_no_constant(basis.get_feature_names_out(names))
        return Strip(place, component, context, active)

    def _check_no_constant(self, names):
        encoding = self.state.encoding
        undiffused = np.flatnonzero(~encoding.ends.active)
        if len(undiffused):
            kind = "Columns" if (encoding.columns[undiffused] >= 0).all() else "Components"
            raise ValueError(
                f"{kind} {names[undiffused][:5].tolist()} are constant, but the columns of a strip "
                "follow one distribution. Drop the rows of the strip that never vary, or are "
                "functions of others."
            )


def _check_not_warped(encoding):
    """Raise if columns are mapped to normal ones, each by a map of its own."""
    if encoding.warp is not None:
        name = encoding.bins.names[int(encoding.warp.columns.argmax())]
        raise ValueError(
            f"extend moves noisy numbers from column to column, but column {name!r} is mapped to "
            "a normal one by a distribution function of its own. Fit with "
            "schema=Schema(gaussianize=False)."
        )


def local_components(basis, place):
    """Components of the columns of a strip, if all columns are rotated in the same way.

    Parameters
    ----------
    basis : fitted Basis
    place : ndarray of shape (n_columns, n_entries)
        Features of each column.

    Returns
    -------
    ndarray of shape (n_columns, n_entries), or None
        None if the basis mixes columns, or rotates them differently.
    """
    of_features, of_components = basis.mixing()
    n_entries = place.shape[1]
    column, entry = np.indices(place.shape)
    label = of_features[place]
    # Column of the strip that contains each block, and the block's first entry there.
    home, first = np.full(label.max() + 1, -1), np.full(label.max() + 1, n_entries)
    home[label] = column
    np.minimum.at(first, label, entry)
    if (home[label] != column).any():
        return None
    order = np.lexsort([np.arange(len(of_components)), first[of_components], home[of_components]])
    component = order.reshape(place.shape)
    # A column that is not rotated needs no comparison: its components are its values.
    n_rotated = n_entries if len(label.ravel()) > label.max() + 1 else 0
    for e in range(n_rotated):
        impulse = np.zeros((1, place.size))
        impulse[0, place[:, e]] = 1.0
        response = basis.rotate(impulse)[0][component]
        if not np.allclose(response, response[:1], atol=1e-9):
            return None
    return component
