"""Learned state: one frozen object of NumPy arrays, specifications and plain values."""

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from gudlearn._specs import same, snapshot
from gudlearn.model.device import to_arrays
from gudlearn.model.schedule_family import ScheduleFamily

# Weights of a uniform density over t.
_UNIFORM_WEIGHTS = np.ones(32)


@dataclass(frozen=True, eq=False)
class Classes:
    """Class labels, sorted, and their frequencies; arrays of shape (n_classes,)."""

    labels: np.ndarray
    prior: np.ndarray


@dataclass(frozen=True, eq=False)
class TimeWeights:
    """Relative heights of the importance-sampling density over t, and the schedule of it.

    Parameters
    ----------
    weights : ndarray of shape (n_bins,)
    schedule : Schedule or None
        The specification under which they were measured; None if they were not measured.
    parameters : object
        Snapshot of its parameters at that time.
    gaussian : bool
        Whether the bound of the joint Gaussian is the control variate of scores, in place of that
        of the marginals.
    ratio : float
        Variance of a score's integrand with this control variate, relative to the marginals'.
    """

    weights: np.ndarray
    schedule: object = None
    parameters: object = None
    gaussian: bool = False
    ratio: float = 1.0

    @classmethod
    def measured(cls, of_marginals, of_gaussian, schedule):
        """Weights measured under a schedule as it is now, with two control variates.

        Parameters
        ----------
        of_marginals : ndarray of shape (n_bins,)
        of_gaussian : ndarray of shape (n_bins,), or None if there is no joint Gaussian
        schedule : Schedule
        """
        as_now = {"schedule": schedule, "parameters": snapshot(schedule)}
        if of_gaussian is None or of_gaussian.mean() >= of_marginals.mean():
            return cls(of_marginals, **as_now)
        ratio = float((of_gaussian.mean() / of_marginals.mean()) ** 2)
        return cls(of_gaussian, **as_now, gaussian=True, ratio=ratio)

    def under(self, schedule):
        """These under the schedule they were measured for, uniform weights under any other."""
        if schedule is self.schedule and same(snapshot(schedule), self.parameters):
            return self
        return TimeWeights(_UNIFORM_WEIGHTS, gaussian=self.gaussian, ratio=self.ratio)


# Before anything was measured.
UNIFORM_TIMES = TimeWeights(_UNIFORM_WEIGHTS)


@dataclass(frozen=True, eq=False)
class History:
    """Losses and validation scores of training.

    Parameters
    ----------
    n_epochs : int
    losses : list of float
        Mean training loss of each epoch.
    validation_scores : list of float
    validation_epochs : list of int
        Number of epochs before each validation.
    best_score : float or None
    """

    n_epochs: int = 0
    losses: list = field(default_factory=list)
    validation_scores: list = field(default_factory=list)
    validation_epochs: list = field(default_factory=list)
    best_score: float | None = None

    def then(self, log):
        """This history, continued by the log of another run."""
        epochs = [self.n_epochs + n for n in log.validation_epochs]
        return History(
            self.n_epochs + len(log.losses),
            self.losses + log.losses,
            self.validation_scores + log.validation_scores,
            self.validation_epochs + epochs,
            self.best_score if log.best_score is None else log.best_score,
        )


@dataclass(frozen=True, eq=False)
class ModelState:
    """Everything that a fitted generator has learned; it is what is pickled.

    Torch modules are built from it when they are needed, and cached outside of it, in
    ``gudlearn.model.build``.

    Parameters
    ----------
    container : TableSchema or ImageContainer
        Container of X, into which samples are put.
    encoding : Encoding
    preconditioner : Preconditioner
    network : specification of the network
    schedule : Schedule
    weights : dict of str to ndarray
        State dict of the network, with running statistics; empty if nothing diffuses.
    n_parameters : int
        Number of trained weights.
    time_weights : TimeWeights
    conditional_rate : float
        Fraction of the training rows that were partially observed.
    parameters : dict
        Text and snapshot, by name, of the estimator's parameters that may not change when training
        continues.
    classes : Classes or None
    history : History
    held_out : ndarray of int or None
        Indices of the rows on which the weights of the last fit were validated; None without.
    at_once : bool
        Whether the network has learned, from rows in which any value was missing, the means of
        numbers and the probabilities of levels from one evaluation.
    schedule_family : ScheduleFamily or None
        Schedules that the network was trained for; None for that of the fit alone.
    """

    container: object
    encoding: object
    preconditioner: object
    network: object
    schedule: object
    weights: dict
    n_parameters: int
    time_weights: TimeWeights
    conditional_rate: float
    parameters: dict
    classes: Classes | None = None
    history: History = History()
    held_out: np.ndarray | None = None
    at_once: bool = False
    schedule_family: ScheduleFamily | None = None

    @property
    def n_classes(self):
        """Number of classes; 0 where the model has none."""
        return 0 if self.classes is None else len(self.classes.labels)

    @property
    def has_images(self):
        """Whether rows are images."""
        return self.container.is_image

    @property
    def constraints(self):
        """Constraints between the columns of a table; None without."""
        return None if self.has_images else self.container.constraints

    @property
    def bin_width(self):
        """Bin widths (F,), NaN for continuous columns; None if all are continuous."""
        if not self.has_images:
            return self.container.bin_width
        bins = self.encoding.bins
        return bins.width if bins.discrete.any() else None

    def trained(self, weights, history):
        """This state with other weights and another history."""
        return replace(self, weights=weights, history=history)

    def in_training(self, weights, log):
        """This state during a run, with its weights, tensors, and its log so far."""
        return self.trained(to_arrays(weights), self.history.then(log))

    def path(self):
        """The path of the active components under the schedule; None if nothing diffuses."""
        if not self.encoding.ends.active.any():
            return None
        return self.encoding.path(self.schedule)

    def family_paths(self):
        """The paths of the members of the family of schedules, a list; empty without a family."""
        if self.schedule_family is None or not self.encoding.ends.active.any():
            return []
        return [self.encoding.path(member) for member in self.schedule_family.members()]

    def restore(self, X):
        """Put rows X (n, F), float64, into the container, names and dtypes of the fitted data."""
        if not self.has_images:
            return self.container.restore(X)
        bins = self.encoding.bins
        whole = bins.discrete & (bins.width % 1 == 0) & (bins.origin % 1 == 0)
        return self.container.wrap(X, whole | self.encoding.constant)

    def log_snr(self, t):
        """Effective log-SNR at times t (n,) of the active components, (n, D'), float64."""
        t = torch.as_tensor(np.atleast_1d(np.asarray(t, dtype=np.float64)))
        ends, path = self.encoding.ends, self.path()
        if path is None:
            return np.zeros((len(t), 0))
        return np.log(ends.variances[ends.active]) - path(t).numpy()


# Fitted attributes of an estimator, by name, as functions of its state.
_LEARNED = {
    "basis_": lambda state: state.encoding.basis,
    "network_": lambda state: state.network,
    "schedule_": lambda state: state.schedule,
    "weights_": lambda state: state.weights,
    "time_weights_": lambda state: state.time_weights.weights,
    "n_iter_": lambda state: state.history.n_epochs,
    "loss_curve_": lambda state: state.history.losses,
    "validation_scores_": lambda state: state.history.validation_scores,
    "validation_iters_": lambda state: state.history.validation_epochs,
    "best_validation_score_": lambda state: state.history.best_score,
    "validation_index_": lambda state: state.held_out,
    "conditional_rate_": lambda state: state.conditional_rate,
    "n_parameters_": lambda state: state.n_parameters,
    "classes_": lambda state: state.classes.labels,
    "class_prior_": lambda state: state.classes.prior,
    "bin_width_": lambda state: state.bin_width,
    "sample_shape_": lambda state: state.container.sample_shape,
    "schema_": lambda state: None if state.has_images else state.container,
}


def learned_attributes(kind):
    """Class decorator that adds the fitted attributes of an estimator, read from ``state_``.

    They are read-only except ``schedule_``, which replaces the state when it is set.
    """
    for name, read in _LEARNED.items():
        setattr(kind, name, _learned(kind, name, read))
    kind.schedule_ = kind.schedule_.setter(_set_schedule)
    return kind


def _learned(kind, name, read):
    def get(estimator):
        try:
            return read(vars(estimator)["state_"])
        except (KeyError, AttributeError) as error:
            message = f"{kind.__name__!r} object has no attribute {name!r}"
            raise AttributeError(message) from error

    return property(get, doc=f"See the attributes of {kind.__name__}.")


def _set_schedule(estimator, schedule):
    check_is_fitted(estimator)
    estimator.state_ = replace(estimator.state_, schedule=schedule)
