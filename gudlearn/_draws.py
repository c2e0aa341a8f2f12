"""What GUDGenerator draws: samples, what they pass through, and completions of partial rows."""

import dataclasses
from numbers import Real

import numpy as np
import pandas as pd
import torch
from sklearn.utils.validation import check_is_fitted

from gudlearn._constraints import validate_set_later
from gudlearn._fitting import build_path
from gudlearn._random import derive_seed, keyed_uniform, seed_keys
from gudlearn._specs import resolve
from gudlearn.conditioning.conditions import Completion, LinearObservation
from gudlearn.data.containers import as_mask, check_n_samples, mean_of_draws, numbers
from gudlearn.diffusion.paths import active_fraction

# Stream of the uniforms that draw the classes of a sample.
_CLASSES = 13


class Draws:
    """The sampling half of an estimator that has an engine."""

    def sample(
        self, n_samples=1, y=None, *, given=None, observation=None, guidance=1.0, random_state=None
    ):
        """Draw rows, or images; of all, or of those that agree with what is known.

        Parameters
        ----------
        n_samples : int, default=1
            With ``given``, or an observation of several rows, so many for each.
        y : array-like of shape (n_samples,), one label or None, default=None
            Classes to draw from, with ``class_conditional``. None draws them by their frequency.
            With ``given`` one for each of its rows, and None is all classes together.
        given : array-like or DataFrame of shape (n_rows, n_features), images, or None, \
                default=None
            Rows of which a part is known; NaN marks what is wanted. A row of which nothing is
            known is drawn from all, one that is known comes back as it is.
        observation : tuple (A, y, noise_std) or None, default=None
            What is known are linear functions of a row: y = A x + noise, in the units of X. A is
            an array of shape (m, n_features), y of shape (m,) or (n_rows, m), noise_std a number
            of at least 0 or one for each of m, and 0 with ``conditioning="repaint"``. Images
            count as flat rows here. Columns with bins are rounded to their levels afterwards:
            then A x is y but for what that adds.
        guidance : float, default=1.0
            Classifier-free guidance, with ``class_conditional``: 1 samples the model of the class,
            more exaggerates what tells the class from all, 0 ignores it.
        random_state : int, RandomState instance or None, default=None
            None uses the estimator's. For one seed the first k of n rows are the k rows; with
            ``given`` the first k of n draws of all of its rows.

        Returns
        -------
        array or DataFrame of shape (n_samples, n_features), or images
            The container, shape, columns and dtypes of the X that was fitted. With ``given``, or
            an observation of several rows, of shape (n_rows, ...) where n_samples is 1, with the
            index of ``given``, else an array of shape (n_samples, n_rows, ...). Known entries are
            those of ``given``, to the bit where the dtype of X holds them.

        Raises
        ------
        ValueError
            If n_samples is not a positive whole number, y holds an unknown class, labels or
            guidance are asked of a model that was fitted without labels, guidance is asked of
            what is given without y, or what is given has another shape or no place on the grid of
            its column.

        Warns
        -----
        UserWarning
            If it is for ``conditional_rate=0`` alone that what is given guides the network, or is
            held although the network never saw such rows.

        Notes
        -----
        What is drawn is exact, as far as the network is, where :meth:`conditioning_method` says
        so; elsewhere the denoiser is guided by what is known. One row of ``given`` that asks for
        guidance makes all of its rows guided.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn.datasets import load_iris
        >>> from gudlearn import GUDGenerator
        >>> X = load_iris().data
        >>> gen = GUDGenerator(conditional_rate=0.3, max_iter=20, random_state=0).fit(X)
        >>> partial = X[:2].copy()
        >>> partial[:, 2:] = np.nan
        >>> gen.sample(given=partial).shape, gen.sample(5, given=partial).shape
        ((2, 4), (5, 2, 4))
        """
        if given is None and observation is None:
            return self._wrap(self._draw(n_samples, y, guidance, random_state))
        found = self._complete(n_samples, y, given, observation, guidance, random_state)
        flat = self._wrap(found.reshape(-1, found.shape[-1]))
        if found.ndim == 2:
            return flat
        if len(found) > 1:
            return numbers(flat).reshape(*found.shape[:2], *self._axes)
        # What is filled in stands beside the rows that it was filled into.
        both = isinstance(flat, pd.DataFrame) and isinstance(given, pd.DataFrame)
        return flat.set_axis(given.index, axis=0) if both else flat

    def _complete(self, n_samples, y, given, observation, guidance, random_state, expected=False):
        """Draws (n_samples, n_rows, F), float64, or (n_samples, F) of one observation."""
        if given is not None and observation is not None:
            raise ValueError("Pass given= or observation=, not both.")
        check_is_fitted(self)
        check_n_samples(n_samples)
        if observation is not None:
            A, values, noise_std = self._check_observation(observation)
            method = validate_set_later(self, "conditioning")
            method = "posterior" if method == "auto" else method
            if method == "exact":
                raise ValueError(
                    "conditioning='exact' knows whole components only, not linear observations. "
                    "Use 'auto', 'posterior' or 'repaint'."
                )
            if method == "repaint" and noise_std.any():
                raise ValueError(
                    "conditioning='repaint' puts what is known in the place of what was guessed, "
                    f"without noise, but the observation has noise_std={observation[2]!r}. Use "
                    "'auto' or 'posterior', or pass noise_std=0."
                )
            condition = LinearObservation(A, np.atleast_2d(values), noise_std, method)
            n_rows, one = len(condition.values), values.ndim == 1
        else:
            rows = self._validate_rows(given).astype(np.float64)
            filled, holes = self._encoding.fill(rows)
            self._encoding.bins.check(filled)
            n_rows, one, condition = len(rows), False, None
            if holes is not None:
                condition = Completion(rows, self._method(~holes))
                n_samples = _n_answers(n_samples, condition, expected)
                if not holes.all():
                    self._warn_of_known(~holes, condition.method)
        if y is not None and np.ndim(y) and not one:
            y = np.tile(np.asarray(y), n_samples) if len(y) == n_rows else y
        if condition is None:
            self._request(n_samples * n_rows, y, guidance, random_state, part=True)
            return np.repeat(rows[None], n_samples, 0)
        found = self._draw(n_samples * n_rows, y, guidance, random_state, condition, expected)
        if one:
            return found
        found = found.reshape(n_samples, n_rows, -1)
        return found if given is None else np.where(holes, found, rows)

    def _complete_rows(self, rows, n_samples, seed, by_value, expected=False):
        """Draws (n_samples, n_rows, F) that complete validated rows, all with holes; float64."""
        known = ~np.isnan(rows)
        condition = Completion(rows, self._method(known), by_value, seed)
        if known.any():
            self._warn_of_known(known, condition.method)
        n_samples = _n_answers(n_samples, condition, expected)
        n = n_samples * len(rows)
        found = self._drawn(n, seed, self._no_labels(n), 1.0, condition, expected)
        return found.reshape(n_samples, *rows.shape)

    def _drawn(self, n, seed, labels, guidance, condition, expected):
        """Samples (n, F); where it is known exactly and `expected`, what they are on average."""
        engine = self._engine()
        if expected and condition.method == "exact":
            return engine.expect(n, seed, labels, condition)
        return engine.sample(n, seed, self._sampler(), labels, guidance, condition)

    def _warn_of_known(self, known, method):
        """Warn where known entries (n, F) would be told exactly by a network that saw parts."""
        if method == "exact":
            self._warn_of_parts("what is known may lead it astray")
        elif self.conditioning == "auto" and not self._encoding.cuts(known):
            self._warn_of_parts("what is known guides it, slowly and not exactly")

    def _no_labels(self, n):
        """Labels that stand for none; None where the model has no labels."""
        return torch.full((n,), self._n_classes) if self.class_conditional else None

    def _check_observation(self, observation):
        if not isinstance(observation, tuple | list) or len(observation) != 3:
            raise TypeError("observation must be a tuple (A, y, noise_std).")
        A, values, noise_std = (np.asarray(part, dtype=np.float64) for part in observation)
        n_columns = self.n_features_in_
        if A.ndim != 2 or A.shape[1] != n_columns:
            raise ValueError(
                f"observation has A of shape {A.shape}, but it must be (m, {n_columns}): one "
                "column for each feature of X."
            )
        if not len(A) or values.ndim not in (1, 2) or values.shape[-1] != len(A) or not len(values):
            raise ValueError(
                f"observation has y of shape {values.shape}, but A has {len(A)} rows. Pass y of "
                f"shape ({len(A)},) or (n_rows, {len(A)})."
            )
        if noise_std.ndim > 1 or noise_std.size not in (1, len(A)) or not (noise_std >= 0).all():
            raise ValueError(
                f"observation has noise_std={observation[2]!r}: pass one number of at least 0, or "
                f"{len(A)} of them."
            )
        if not (np.isfinite(A).all() and np.isfinite(values).all() and noise_std.max() < np.inf):
            raise ValueError("observation must be finite, but holds NaN or infinity.")
        return A, values, np.broadcast_to(noise_std, (len(A),))

    def conditioning_method(self, mask):
        """How rows are drawn of which these columns are known.

        Parameters
        ----------
        mask : list of str, list of int, or bool array of shape (n_features,)
            The known columns; for images a mask of the shape of one image, or of its height and
            width.

        Returns
        -------
        {"exact", "posterior", "repaint"}
            What ``conditioning`` asks for. By "auto" it is "exact" where known columns make whole
            components and the network was trained on such states, else "posterior".
        """
        check_is_fitted(self)
        known = as_mask("mask", mask, self._column_names(), self._mask_axes)
        return self._method(known[None])

    def _method(self, known):
        """The method for known entries (n, F), bool."""
        method, cut = validate_set_later(self, "conditioning"), self._encoding.cuts(known)
        if method == "exact" and cut:
            raise ValueError(
                f"conditioning='exact' needs known columns that make whole components, but "
                f"basis={self.basis_!r} mixes them with others. Use conditioning='auto', or fit "
                "with basis='identity'."
            )
        if method == "auto":
            return "posterior" if cut or self.conditional_rate_ == 0 else "exact"
        return method

    def conditional_mean(self, X, *, n_samples=100, random_state=None):
        """Expected values of what is missing in rows.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_rows, n_features), or images
            NaN marks what is wanted. A model of labels is told of none.
        n_samples : int, default=100
            Draws of noise for each row; one more where they come in pairs (see Notes) and the
            number is odd.
        random_state : int, RandomState instance or None, default=None
            As in ``sample``.

        Returns
        -------
        ndarray of shape (n_rows, n_features), or images of floats
            Known entries are those of X.

        Notes
        -----
        The mean of so many samples has, in each entry, a standard error of the conditional standard
        deviation divided by the square root of their number. Where :meth:`conditioning_method`
        is "exact" the mean is over what the denoiser expects halfway from noise, which has the
        same mean and less spread. The draws come in mirrored pairs of noise, whose errors cancel
        where the data are normal. It takes about half of the time of samples of 20 steps.
        """
        answers = self._complete(n_samples, None, X, None, 1.0, random_state, expected=True)
        return mean_of_draws(answers).reshape(-1, *self._axes)

    def conditional_quantile(self, X, q, *, n_samples=100, random_state=None):
        """Quantiles of what is missing in rows, each entry by itself, by sampling.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_rows, n_features), or images
            NaN marks what is wanted. A model of labels is told of none.
        q : float or array-like of shape (n_quantiles,)
            In [0, 1].
        n_samples : int, default=100
            Draws for each row. The share of the law below a returned quantile has a standard
            error of sqrt(q (1 - q) / n_samples).
        random_state : int, RandomState instance or None, default=None
            As in ``sample``.

        Returns
        -------
        ndarray of shape (n_rows, n_features) or (n_quantiles, n_rows, n_features), or images
            Known entries are those of X.
        """
        check_is_fitted(self)
        levels = np.asarray(q, dtype=np.float64)
        if levels.ndim > 1 or not levels.size or not ((levels >= 0) & (levels <= 1)).all():
            raise ValueError(f"q={q!r} must be a number in [0, 1], or a list of them.")
        draws = self._complete(n_samples, None, X, None, 1.0, random_state)
        found = np.quantile(draws, levels, axis=0)
        return found.reshape(*levels.shape, -1, *self._axes)

    def _wrap(self, X):
        """Rows, float64, in the container that was fitted."""
        bins = self._encoding.bins
        whole = bins.discrete & (bins.width % 1 == 0) & (bins.origin % 1 == 0)
        return self._container.wrap(X, whole | self._encoding.constant)

    def sample_trajectory(
        self, n_samples=1, n_states=9, y=None, *, guidance=1.0, random_state=None
    ):
        """Draw rows, or images, and show the states that they pass through.

        Parameters
        ----------
        n_samples : int, default=1
        n_states : int, default=9
            Number of states, spread evenly over the sampler's steps.
        y : array-like of shape (n_samples,), one label or None, default=None
            As in ``sample``.
        guidance : float, default=1.0
            As in ``sample``.
        random_state : int, RandomState instance or None, default=None
            As in ``sample``, which draws the same samples from the same seed.

        Returns
        -------
        Trajectory
            ``t``, from 1 to 0; ``denoised`` and ``noisy`` states in the units of the data, floats
            of the shape of n_states samples; and their ``components``. The last noisy state is
            the sample before it is rounded to levels.

        Raises
        ------
        ValueError
            As in ``sample``, if n_states is less than 2 or more than the sampler visits, or if
            nothing in the data varies.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from gudlearn import GUDGenerator
        >>> gen = GUDGenerator(max_iter=0, random_state=0).fit(load_iris().data)
        >>> found = gen.sample_trajectory(2, n_states=5)
        >>> found.t[[0, -1]], found.denoised.shape
        (array([1., 0.]), (5, 2, 4))
        """
        request = self._request(n_samples, y, guidance, random_state)
        found = self._engine().trajectory(n_states, *request)
        shape = (n_states, n_samples, *getattr(self._container, "axes", [self.n_features_in_]))
        return dataclasses.replace(
            found, denoised=found.denoised.reshape(shape), noisy=found.noisy.reshape(shape)
        )

    def _draw(self, n_samples, y, guidance, random_state, condition=None, expected=False):
        n, seed, _, labels, guidance = self._request(
            n_samples, y, guidance, random_state, part=condition is not None
        )
        return self._drawn(n, seed, labels, guidance, condition, expected)

    def _request(self, n_samples, y, guidance, random_state, part=False):
        """What the engine is to draw, once what was asked of ``sample`` is checked.

        Where a part is known classes are not drawn.
        """
        check_is_fitted(self)
        check_n_samples(n_samples)
        self._check_guidance(y, guidance)
        seed = derive_seed(self.random_state if random_state is None else random_state)
        if part and y is None:
            if guidance not in (0, 1):
                raise ValueError(
                    f"guidance={guidance!r} weighs a class, but where a part is known none is "
                    "drawn. Pass y."
                )
            # What is known tells of the class: its frequency among all does not.
            labels = self._no_labels(n_samples)
        else:
            labels = self._labels_of_sample(n_samples, y, seed)
        return n_samples, seed, self._sampler(), labels, float(guidance)

    def _check_guidance(self, y, guidance):
        number = isinstance(guidance, Real) and not isinstance(guidance, bool)
        if not number or not 0 <= guidance < np.inf:
            raise ValueError(
                f"guidance={guidance!r} must be a finite number of at least 0; 1 is none."
            )
        asked = "y" if y is not None else f"guidance={guidance!r}" if guidance != 1 else None
        if asked and not self.class_conditional:
            raise ValueError(
                f"{asked} needs a model of labels, but this one was fitted without. Fit with "
                "class_conditional=True and y."
            )

    def _labels_of_sample(self, n_samples, y, seed):
        if not self.class_conditional:
            return None
        if y is not None:
            return self._labels(y, n_samples)
        u = keyed_uniform(seed_keys(seed, n_samples), 1, _CLASSES)[:, 0].numpy()
        drawn = np.searchsorted(self.class_prior_.cumsum(), u)
        return torch.from_numpy(drawn.clip(max=self._n_classes - 1))

    def _sampler(self):
        sampler = resolve("sampler", self.sampler)
        if isinstance(self.sampler, str) and self.sampler == "auto":
            path = build_path(self._encoding, self.schedule_)
            share = 1.0 if path is None else active_fraction(path)
            sampler.set_params(steps=int(np.clip(50 / share, 50, 1000)))
        return sampler


def _n_answers(n_samples, condition, expected):
    """How many answers to ask for: where they are expected values each stands for two samples."""
    return -(-n_samples // 2) if expected and condition.method == "exact" else n_samples
