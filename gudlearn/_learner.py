"""What GUDGenerator does to learn: checks, the encoding, the trainer, and the passes."""

import math

import numpy as np
import pandas as pd
import torch
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from gudlearn import _fitting
from gudlearn._random import derive_seed
from gudlearn._specs import resolve, same, snapshot
from gudlearn.data.bins import make_bins
from gudlearn.data.containers import Container, check_finite, missing_mask
from gudlearn.data.images import ImageContainer, are_names, image_basis, understand
from gudlearn.encoding.encoding import Encoding
from gudlearn.model.fitted import Engine
from gudlearn.networks import ImageNetwork
from gudlearn.training.imputation import Filling
from gudlearn.training.loop import run_epochs
from gudlearn.training.sources import rows_on_device
from gudlearn.training.trainer import Batch, to_arrays

# At most this many rows, or images, are held out: more would not choose better.
_MOST_VALIDATION, _MOST_IMAGES = 8192, 512
# Rows of a table that are kept to be looked up, where that is left to us.
_MOST_REMEMBERED = 2048
# Share of rows in mixed states where values are missing.
_RATE_WITH_HOLES = 0.3
# Rows, or images, on which the best density of times for scores is measured.
_ROWS_FOR_TIMES, _IMAGES_FOR_TIMES = 256, 32


class Learner:
    """The private half of an estimator that fits an encoding and trains a network."""

    def _prepare(self, X, y, again, judged):
        """Validate everything; learn the encoding unless it is kept.

        Where it is judged, some of the rows are to be held out if it stops early.

        Returns
        -------
        rows of X, their labels or None, and the seed of what was made anew, or None
        """
        self._validate_params()
        schedule = resolve("schedule", self.schedule)
        resolve("sampler", self.sampler).build()
        resolve("network", self.network)
        basis = resolve("basis", self.basis)
        _fitting.resolve_device(self.device)
        if hasattr(schedule, "check_params"):
            schedule.check_params()
        if again:
            if not self._has_images:
                Container.of(X)
            X = self._validate_rows(X)
            self._check_judges(len(X), judged)
            self._check_what_is_for_images(self.network_)
            self._refuse_changes()
            if judged:
                # One of many parts of the data may lack a column.
                self._check_holes(X)
            self._encoding.basis.check_missing(X)
            self._encoding.bins.check(X)
            # A network that has seen parts of rows goes on seeing them.
            before = self.conditional_rate_ if self.conditional_rate == "auto" else 0.0
            self.conditional_rate_ = max(before, self._rate(X))
            _fitting.build_path(self._encoding, schedule)
            self.schedule_ = schedule
            return X, self._labels(y, len(X)), None
        X, self._container = self._first_rows(X)
        self._check_judges(len(X), judged)
        self._check_holes(X)
        self.conditional_rate_ = self._rate(X)
        container = self._container
        shape = getattr(container, "shape", None)
        network = _fitting.resolve_network(self.network, len(X), shape)
        _fitting.check_network(network, shape)
        self._check_what_is_for_images(network)
        labels = self._first_labels(y, X)
        bins = self._make_bins(container, X, shape)
        if shape is not None:
            basis = image_basis(self.basis, basis, shape)
        names = getattr(self, "feature_names_in_", None)
        self._encoding = Encoding(bins, basis, self.preconditioning, names, shape)
        self._encoding.fit(X, None if labels is None else labels.numpy())
        self.basis_, self.schedule_, self.network_ = self._encoding.basis, schedule, network
        self.bin_width_ = bins.width if bins.discrete.any() else None
        _fitting.build_path(self._encoding, schedule)
        seed = derive_seed(self.random_state)
        self._remember(X, seed)
        fresh = _fitting.new_network(self._encoding, network, seed, self._n_classes)
        self.weights_ = {} if fresh is None else to_arrays(fresh.state_dict())
        self.n_parameters_ = 0 if fresh is None else sum(p.numel() for p in fresh.parameters())
        self.time_weights_, self._measured_on = np.ones(32), None
        self.loss_curve_, self.validation_scores_, self.validation_iters_ = [], [], []
        self.best_validation_score_ = None
        self.n_iter_ = 0
        self._fitted_with = self._lasting_parameters()
        return X, labels, seed

    def _check_judges(self, n_rows, judged):
        if judged and self.early_stopping and not self._n_validation(n_rows):
            raise ValueError(
                f"early_stopping=True needs rows to judge by, but validation_fraction="
                f"{self.validation_fraction} of {n_rows} rows holds none out. Raise it, or pass "
                "early_stopping=False."
            )

    def _check_what_is_for_images(self, network):
        """Raise where a parameter of images is asked of a table, or the other way round."""
        if self.random_flips and not isinstance(network, ImageNetwork):
            seen = f"network={network!r} sees components" if self._has_images else "X is a table"
            raise ValueError(
                f"random_flips=True mirrors images, but {seen}. Pass random_flips=False, or images "
                "and network='unet' or 'transformer'."
            )
        if self.retrieval not in (0, "auto") and self._has_images:
            raise ValueError(
                f"retrieval={self.retrieval} keeps rows of a table, but X holds images. Pass 0 or "
                "'auto'."
            )

    def _rate(self, X):
        """Share of rows in mixed states, for a set of rows."""
        if self.conditional_rate == "auto":
            return 0.0 if missing_mask(X) is None else _RATE_WITH_HOLES
        return float(self.conditional_rate)

    def _make_bins(self, container, X, shape):
        bin_range = self.bin_range
        if shape is None:
            return make_bins(self.bin_width, bin_range, container, X, self._column_names())
        if np.ndim(self.bin_width) > 0:
            raise ValueError(
                f"bin_width has {np.size(self.bin_width)} entries, but the pixels of images share "
                "one width. Pass one number, None or 'auto'."
            )
        levels = isinstance(self.bin_width, str) or self.bin_width == 1
        if bin_range is None and container.dtype == np.uint8 and levels:
            bin_range = (0, 255)
        types = Container(None, [container.dtype] * X.shape[1], "numpy")
        names = self._column_names()
        return make_bins(self.bin_width, bin_range, types, X, names, alike=True)

    def _remember(self, X, seed):
        """Keep some of the rows that are trained on for the network to look up."""
        most = self.retrieval
        if most == "auto":
            most = 0 if self._has_images or len(X) > _MOST_REMEMBERED else _MOST_REMEMBERED
        if most and self._encoding.ends.active.any():
            held_out = _fitting.hold_out(X, self._n_validation(len(X)), seed)
            rows = np.random.default_rng(seed).permutation(len(X))
            rows = rows[np.isin(rows, held_out, invert=True)][:most]
            # A row alone would have nobody to be told of.
            if len(rows) > 1:
                self._encoding.remember(X[np.sort(rows)])

    # Labels

    @property
    def _n_classes(self):
        return len(self.classes_) if self.class_conditional else 0

    def _first_labels(self, y, X):
        """Learn the classes; indices of the labels, None where the model has none."""
        if not self.class_conditional:
            return None
        y = self._check_labels(y, len(X))
        check_classification_targets(y)
        self.classes_, labels, counts = np.unique(y, return_inverse=True, return_counts=True)
        self.class_prior_ = counts / len(y)
        return torch.from_numpy(labels)

    def _check_labels(self, y, n_rows):
        if y is None:
            raise ValueError(
                "class_conditional=True requires y to be passed, but the target y is None. Pass "
                "one label for each row."
            )
        y = column_or_1d(y, warn=True)
        if len(y) != n_rows:
            raise ValueError(
                f"y has {len(y)} labels for {n_rows} rows. Pass one label for each row."
            )
        missing = pd.isna(y).tolist()
        if any(missing):
            raise ValueError(
                f"y holds no label for {sum(missing)} rows, the first of them row "
                f"{missing.index(True)}. Label them or drop them."
            )
        return y

    def _labels(self, y, n_rows):
        """Indices of labels y, one for each row or one for all.

        Raises
        ------
        ValueError
            If one is missing, or no class that was fitted.
        """
        if not self.class_conditional:
            return None
        if y is not None and np.ndim(y) == 0:
            y = np.full(n_rows, y)
        y = self._check_labels(y, n_rows)
        known = np.isin(y, self.classes_)
        if not known.all():
            unknown = np.unique(y[~known]).tolist()
            raise ValueError(
                f"y holds {unknown[0]!r}, but the classes that were fitted are "
                f"{self.classes_.tolist()}. Pass one of them for each row."
            )
        return torch.from_numpy(np.searchsorted(self.classes_, y))

    # What must not change between fits with warm_start

    def _lasting_parameters(self):
        """What weights and marginals rest on."""
        names = ("basis", "network", "preconditioning", "bin_width", "bin_range", "shape")
        names += ("class_conditional", "retrieval")
        return {name: (repr(getattr(self, name)), snapshot(getattr(self, name))) for name in names}

    def _refuse_changes(self):
        for name, (now, value) in self._lasting_parameters().items():
            before, earlier = self._fitted_with[name]
            if not same(value, earlier):
                before = "another object of that kind" if before == now else before
                raise ValueError(
                    f"{name}={now} was {before} when this estimator was fitted, and its "
                    "weights, to be trained further, rest on it. Put it back, or fit anew with "
                    "warm_start=False."
                )

    # Rows

    def _column_names(self):
        if hasattr(self, "feature_names_in_"):
            return list(self.feature_names_in_)
        return [f"x{j}" for j in range(self.n_features_in_)]

    def _first_rows(self, X):
        """Rows of X, finite, and their container: float64 of a table, any dtype of images."""
        images = understand(X, self.shape)
        if images is None:
            container = Container.of(X)
            return self._validated(X, reset=True, dtype=np.float64), container
        X, container = images
        X = self._validated(X, reset=True, dtype=None)
        if are_names(container.names):
            self.feature_names_in_ = np.asarray(container.names, dtype=object)
        return X, container

    def _validate_rows(self, X):
        """Rows of more data of the kind that was fitted; an error names the column."""
        if isinstance(self._container, ImageContainer):
            rows = self._container.rows(X)
            if hasattr(self, "feature_names_in_"):
                # The container has compared them.
                rows = pd.DataFrame(rows, columns=self.feature_names_in_)
            return self._validated(rows, reset=False, dtype=None)
        return self._validated(X, reset=False, dtype=np.float64)

    def _validated(self, X, reset, dtype):
        X = validate_data(self, X, dtype=dtype, reset=reset, ensure_all_finite=False)
        check_finite(X, self._column_names())
        return X

    def _check_holes(self, X):
        """Raise where a column is all NaN."""
        holes = missing_mask(X)
        if holes is None:
            return
        empty = holes.all(0)
        if empty.any():
            names = np.array(self._column_names())[empty].tolist()
            raise ValueError(f"Columns {names[:5]} of X hold nothing but NaN. Drop them.")

    # Training

    def _make_trainer(self, n_rows, seed):
        denoiser = _fitting.build_denoiser(
            self._encoding, self.network_, self.weights_, self._n_classes
        )
        if denoiser is None:
            return None
        path = _fitting.build_path(self._encoding, self.schedule_)
        device = _fitting.resolve_device(self.device)
        return _fitting.make_trainer(
            self, denoiser, path, n_rows, seed, device, self._encoding, self.conditional_rate_
        )

    def _rows_on_device(self, X, labels, trainer):
        return rows_on_device(
            self._encoding, X, trainer, labels, self._n_classes, self.random_flips
        )

    @property
    def _has_images(self):
        return isinstance(self._container, ImageContainer)

    def _n_validation(self, n_rows):
        most = _MOST_IMAGES if self._has_images else _MOST_VALIDATION
        return min(int(n_rows * self.validation_fraction), most)

    def _n_passes(self, n_rows):
        if self.max_iter != "auto":
            return int(self.max_iter)
        if self.max_time is not None:
            return None
        return int(min(500, 100 + n_rows, math.ceil(6e6 / n_rows)))

    def _train(self, X, labels, trainer, budget, seed, context):
        """Run the passes, with validation and callbacks, and record what comes of them."""
        if trainer is None:
            return
        if budget.max_iter == 0:
            if self._encoding.law() is not None:
                self._measure_times(trainer, self._rows_on_device(X, labels, trainer))
            return
        held_out = _fitting.hold_out(X, self._n_validation(len(X)), seed)
        train = np.delete(np.arange(len(X)), held_out)
        train_labels, held_labels = (
            None if labels is None else labels[torch.from_numpy(some)] for some in (train, held_out)
        )
        data = self._rows_on_device(X[train], train_labels, trainer)
        validation = _fitting.make_validation(self._engine(), X[held_out], held_labels, seed)
        shown = X.reshape(len(X), *self._container.axes) if self._has_images else X

        def after_pass(n_passes, weights, log):
            sub = context.subcontext(task_name="pass")
            sub.call_on_fit_task_begin(estimator=self, X=shown)
            return sub.call_on_fit_task_end(
                estimator=self,
                X=shown,
                reconstruction_attributes=lambda: {
                    "weights_": to_arrays(weights()),
                    "n_iter_": n_passes,
                    "validation_scores_": list(log.validation_scores),
                    "loss_curve_": list(log.losses),
                },
            )

        run_epochs(
            trainer,
            data,
            budget,
            validation=validation,
            patience=self.n_iter_no_change if self.early_stopping else None,
            tol=self.tol,
            verbose=self.verbose,
            after_pass=after_pass,
            fill=self._filling(X[train], data, trainer, seed),
            blame=self._encoding.extreme_column,
            keep=self._note,
            units=self._loss_units(X[train]),
        )
        self._measure_times(trainer, data)

    def _filling(self, X, data, trainer, seed):
        """What fills the holes of rows X, known to a trainer as data; None if nothing does."""
        if data.missing is None or not self.conditional_rate_:
            return None
        model = _fitting.model_in_training(self._encoding, trainer, self._n_classes)
        return Filling(Engine(self._encoding, model), X, data, seed)

    def _measure_times(self, trainer, data):
        """Learn which times the noise of scores comes from."""
        n_rows = _IMAGES_FOR_TIMES if self._has_images else _ROWS_FOR_TIMES
        data.renew(0)
        some = torch.arange(0, len(data), max(1, len(data) // n_rows), device=trainer.device)
        missing = None if data.filled else data.missing
        others = (None if v is None else v[some] for v in (data.labels, missing, data.self_index))
        n_pairs = 1 if self._has_images else 2
        batch = Batch(data.components(some), *others)
        self.time_weights_ = trainer.time_weights(batch, n_pairs=n_pairs)
        self._measured_on = _fitting.levels_of(trainer.path)

    def _loss_units(self, X):
        some = X[:: max(1, len(X) // _MOST_IMAGES)] if self._has_images else X
        return _fitting.loss_units(self._engine(), some, self.loss_weighting)

    def _note(self, log):
        """Record the outcome of training in learned attributes."""
        before = self.n_iter_
        self.n_iter_ = before + len(log.losses)
        self.weights_ = to_arrays(log.best_state)
        self.loss_curve_ = self.loss_curve_ + log.losses
        self.validation_scores_ = self.validation_scores_ + log.validation_scores
        passes = [before + n for n in log.validation_epochs]
        self.validation_iters_ = self.validation_iters_ + passes
        if log.best_score is not None:
            self.best_validation_score_ = log.best_score
