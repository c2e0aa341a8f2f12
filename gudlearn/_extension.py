"""What GUDGenerator adds to series and fields: columns beyond the width that was trained on."""

import math

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from gudlearn._random import derive_seed, seed_keys
from gudlearn.data.containers import check_n_samples, numbers
from gudlearn.diffusion.paths import active_fraction
from gudlearn.model.rolling import Strip, roll

# Columns on their way at once may be as far apart, as a share of the way.
_APART = 0.1


class Extends:
    """The extending part of an estimator that draws and scores."""

    def extend(
        self,
        X_start,
        n_steps,
        *,
        context=None,
        active=None,
        steps_per_column=16,
        side="right",
        return_log_likelihood=False,
        random_state=None,
    ):
        """Continue series, strips or fields beyond the width that was trained on.

        Parameters
        ----------
        X_start : array-like of shape (n_rows, width), or images (n_rows, height, width[, channels])
            What is known; any width of at least ``context``, the height and channels of what was
            fitted. Its columns may be those of a longer past: the nearest ones count.
        n_steps : int
            Columns to add.
        context : int or None, default=None
            Columns that each new one is drawn given; None is half of the width that was fitted.
        active : int or None, default=None
            Columns that are on their way at once, softly; 1 is one after another. None is what the
            width leaves.
        steps_per_column : int, default=16
            Steps of the sampler for each new column; more where the schedule lets columns rest for
            a part of the time.
        side : {"right", "left"}, default="right"
            Where columns are added.
        return_log_likelihood : bool, default=False
            Whether to return the log-likelihood of each step, too.
        random_state : int, RandomState instance or None, default=None
            None uses the estimator's. For one seed the first k of n columns are the k columns.

        Returns
        -------
        X : ndarray of shape (n_rows, width + n_steps), or \
                (n_rows, height, width + n_steps[, channels])
            X_start, and the new columns beside it, in the dtype that was fitted.
        log_likelihood : ndarray of shape (n_rows, n_steps)
            log p(column | ``context`` columns before it) of each new column in the order in which
            they were added, in nats: the bound. Only with ``return_log_likelihood=True``.

        Raises
        ------
        ValueError
            If the strip is too narrow for context and active columns, the basis mixes columns or
            turns them in different ways, a column is constant, the schedule differs between columns
            that are active at once, X was fitted as flat images (``shape``), or X_start does not
            fit.
        TypeError
            If X_start holds no numbers.

        Warns
        -----
        UserWarning
            If the model was fitted with ``conditional_rate=0``: its network never saw columns that
            are known.

        Notes
        -----
        Train on random crops of one width, with a ``conditional_rate`` above 0. A model of labels
        is told of none. Exact, as far as
        the network is, for a stationary law whose columns depend on ``context`` earlier ones.

        Examples
        --------
        >>> import numpy as np
        >>> from gudlearn import GUDGenerator
        >>> wave = np.sin(np.arange(400) / 3) + 0.1 * np.random.default_rng(0).normal(size=400)
        >>> crops = np.lib.stride_tricks.sliding_window_view(wave, 8)
        >>> gen = GUDGenerator(conditional_rate=0.5, max_iter=5, random_state=0).fit(crops)
        >>> gen.extend(wave[None, -8:], 20).shape
        (1, 28)
        """
        check_is_fitted(self)
        check_n_samples(n_steps, "n_steps")
        columns, start, strip = self._rolling(
            X_start, n_steps, context, active, steps_per_column, side, random_state
        )
        if return_log_likelihood:
            self._check_steps(strip)
        new = list(columns)
        parts = [start, *new] if side == "right" else [*new[::-1], start]
        axis = 1 if start.ndim == 2 else 2
        longer = np.concatenate(parts, axis=axis)
        if not return_log_likelihood:
            return longer
        columns = np.moveaxis(longer, axis, 1)
        return longer, self._log_likelihood_of_steps(strip, columns, side, n_steps)

    def _check_steps(self, strip):
        """Raise where columns given their context cannot be scored."""
        rest = np.ones((1, self.n_features_in_), bool)
        rest[:, strip.place[: strip.n_context + 1]] = False
        self._check_parts({"the rest of a strip": rest})

    def _log_likelihood_of_steps(self, strip, columns, side, n_steps):
        """Score each of the last columns, (n, width, ...), given the context before it."""
        columns = columns[:, ::-1] if side == "left" else columns
        n, width = columns.shape[:2]
        columns = columns.reshape(n, width, -1)
        known, own = strip.place[: strip.n_context], strip.place[: strip.n_context + 1]
        given = np.zeros((n, self.n_features_in_), bool)
        given[:, known] = True
        labels = self._no_labels(n) if self.class_conditional else None
        engine = self._engine()
        found = np.empty((n, n_steps))
        for step in range(n_steps):
            end = width - n_steps + step + 1
            rows = np.full((n, self.n_features_in_), np.nan)
            rows[:, own] = columns[:, end - len(own) : end]
            found[:, step] = self._log_likelihood(rows, labels, given, engine)
        return found

    def iter_extend(
        self,
        X_start,
        *,
        context=None,
        active=None,
        steps_per_column=16,
        side="right",
        random_state=None,
    ):
        """Continue as ``extend`` does, without end, in constant memory, and without scores.

        Parameters
        ----------
        X_start, context, active, steps_per_column, side, random_state
            As in ``extend``.

        Returns
        -------
        iterator of ndarray of shape (n_rows, 1), or (n_rows, height, 1[, channels])
            Column after column.
        """
        columns, _, _ = self._rolling(
            X_start, None, context, active, steps_per_column, side, random_state
        )
        return columns

    def _rolling(self, X_start, n_steps, context, active, steps_per_column, side, random_state):
        """An iterator of new columns, X_start as an array in the fitted dtype, and the strip."""
        check_is_fitted(self)
        check_n_samples(steps_per_column, "steps_per_column")
        if side not in ("right", "left"):
            raise ValueError(f"side={side!r} must be 'right' or 'left'.")
        axes = self._axes
        if self._has_images and len(axes) == 1:
            raise ValueError(
                f"extend needs images, but X was fitted as flat rows with shape={self.shape}. Fit "
                "to X of shape (n, height, width[, channels])."
            )
        axis = 0 if len(axes) == 1 else 1
        strip = self._strip(axes, axis, context, active, side)
        X = np.asarray(X_start)
        if X.dtype.kind not in "iubf":
            raise TypeError(f"X_start has dtype {X.dtype}, but must hold numbers.")
        fits = X.ndim == len(axes) + 1 and len(X) > 0 and all(
            m == n for a, (m, n) in enumerate(zip(X.shape[1:], axes, strict=True)) if a != axis
        )
        if not fits or X.shape[axis + 1] < strip.n_context:
            wanted = ", ".join("width" if a == axis else str(n) for a, n in enumerate(axes))
            raise ValueError(
                f"X_start has shape {X.shape}, but must be (n_rows, {wanted}) with at least "
                f"one row and a width of at least context={strip.n_context}."
            )
        if not np.isfinite(X).all():
            raise ValueError("X_start must be finite: every column of the context is known.")
        known = np.moveaxis(X, axis + 1, 1)
        known = known[:, ::-1] if side == "left" else known
        start = known[:, -strip.n_context :].reshape(len(X), strip.n_context, -1)
        seed = derive_seed(self.random_state if random_state is None else random_state)
        engine = self._engine()
        self._check_curves(engine, strip)
        rows = np.tile(self._encoding.fill_values, (len(X), 1))
        rows[:, strip.place[: strip.n_context]] = start
        self._encoding.bins.check(rows)
        self._warn_of_parts("what is known may lead it astray")
        keys = seed_keys(seed, len(X), device=engine.model.device)
        n_moves = math.ceil(steps_per_column / active_fraction(engine.model.path))
        found = roll(engine, strip, start, n_steps, keys, self._sampler(), n_moves)
        filler = np.tile(self._encoding.fill_values, (len(X), 1))

        def columns():
            for column in found:
                filler[:, strip.place[0]] = column
                whole = numbers(self._wrap(filler)).reshape(len(X), -1)
                yield np.expand_dims(
                    whole[:, strip.place[0]].reshape(len(X), *np.delete(axes, axis)), axis + 1
                )

        dtype = numbers(self._wrap(filler[:1])).dtype
        with np.errstate(invalid="ignore"):
            whole = X.astype(dtype)
        if dtype.kind in "iub" and (whole != X).any():
            raise ValueError(
                f"X_start holds values that {dtype}, the dtype that was fitted, does not. Round "
                "them, or fit to floats."
            )
        return columns(), whole, strip

    def _check_curves(self, engine, strip):
        """Raise where columns that are on their way at once have no noise curve in common."""
        if strip.n_active == 1:
            return
        path = engine.model.path
        t = torch.linspace(0, 1, 9, device=path.gamma_0.device, dtype=path.gamma_0.dtype)
        share = ((path(t) - path.gamma_0) / (path.gamma_1 - path.gamma_0))[:, strip.component]
        if (share - share[:, :1]).abs().max() > _APART:
            raise ValueError(
                f"extend moves active={strip.n_active} columns along one noise curve, but "
                f"schedule_={self.schedule_!r} has another one for each. Put LinearSchedule() in "
                "its place, or pass active=1."
            )

    def _strip(self, axes, axis, context, active, side):
        width = axes[axis]
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
        place = np.moveaxis(np.arange(self.n_features_in_).reshape(axes), axis, 0)
        place = place.reshape(width, -1)
        place = place[::-1].copy() if side == "left" else place
        component = local_components(self.basis_, place)
        if component is None:
            raise ValueError(
                f"basis={self.basis_!r} mixes columns of the strip, or turns one of them otherwise "
                "than another, and extend moves what is noisy from column to column. Fit with "
                "basis='identity', or with a BlockBasis of one fixed basis, such as WaveletBasis() "
                "or FourierBasis(), for each column, whose entries come in the same order in all."
            )
        encoding = self._encoding
        idle = np.flatnonzero(~encoding.ends.active)
        if len(idle):
            kind = "Columns" if (encoding.columns[idle] >= 0).all() else "Components"
            names = self.basis_.get_feature_names_out(self._column_names())[idle]
            raise ValueError(
                f"{kind} {names[:5].tolist()} are constant, but the columns of a strip follow one "
                "law. Drop the rows of the strip that never vary, or are functions of others."
            )
        return Strip(place, component, context, active)


def local_components(basis, place):
    """Components of the columns of a strip, if each has its own and one rotation leads to all.

    Parameters
    ----------
    basis : fitted Basis
    place : ndarray of shape (n_columns, n_entries)
        Features of each column.

    Returns
    -------
    ndarray of shape (n_columns, n_entries), or None where a rotation mixes or differs
    """
    of_features, of_components = basis.mixing()
    n_entries = place.shape[1]
    column, entry = np.indices(place.shape)
    label = of_features[place]
    # Of each block, the strip's column that it is in and its first entry there.
    home, first = np.full(label.max() + 1, -1), np.full(label.max() + 1, n_entries)
    home[label] = column
    np.minimum.at(first, label, entry)
    if (home[label] != column).any():
        return None
    order = np.lexsort([np.arange(len(of_components)), first[of_components], home[of_components]])
    component = order.reshape(place.shape)
    # A column that nothing turns is its values.
    turned = n_entries if len(label.ravel()) > label.max() + 1 else 0
    for e in range(turned):
        impulse = np.zeros((1, place.size))
        impulse[0, place[:, e]] = 1.0
        rotated = basis.rotate(impulse)[0][component]
        if not np.allclose(rotated, rotated[:1], atol=1e-9):
            return None
    return component
