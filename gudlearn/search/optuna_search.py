"""A search by Optuna, in the form of scikit-learn's."""

import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from copy import deepcopy
from numbers import Integral, Real
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, MetaEstimatorMixin, is_classifier
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.metrics import check_scoring, get_scorer_names
from sklearn.model_selection import check_cv
from sklearn.utils import get_tags, indexable
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from gudlearn._atomic import unchanged_on_error
from gudlearn._constraints import HasMethods, Interval, StrOptions, _fit_context
from gudlearn._random import derive_seed
from gudlearn._typing import RandomState
from gudlearn._versions import Versioned
from gudlearn.search.folds import Folds
from gudlearn.search.results import best_index, cv_results
from gudlearn.search.space import Space, new_candidate


def _optuna():
    try:
        import optuna
    except ImportError as error:
        raise ImportError(
            "OptunaSearchCV needs Optuna. Install it with pip install 'gudlearn[search]'."
        ) from error
    return optuna


def _best_has(name):
    """Condition under which a search has a method: that its best estimator has it."""

    def check(search):
        if not search.refit:
            raise AttributeError(
                f"{name} needs the best estimator, but refit=False. Pass refit=True, or fit "
                "estimator.set_params(**best_params_)."
            )
        getattr(getattr(search, "best_estimator_", search.estimator), name)
        return True

    return available_if(check)


def _check_is(name, value, kind, example):
    if not isinstance(value, kind):
        raise TypeError(
            f"{name}={value!r} must be an instance of optuna.{name}s.{kind.__name__}, such as "
            f"optuna.{name}s.{example}(), or None."
        )


@contextmanager
def _log_of(optuna, verbose):
    """Silence Optuna's log, which it writes to stderr, unless verbose is above 0."""
    level = optuna.logging.get_verbosity()
    if not verbose:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(level)


class OptunaSearchCV(Versioned, MetaEstimatorMixin, CallbackSupportMixin, BaseEstimator):
    """Search over parameters by Optuna, which ends bad trials before they are fully trained.

    Parameters
    ----------
    estimator : estimator
        Any of scikit-learn's interface with a ``score``, or with ``scoring``.
    param_distributions : dict of str to list or distribution
        Values to try of each parameter: a list of any objects (bases, schedules, networks, steps of
        a pipeline), a distribution of ``optuna.distributions``, or a frozen one of
        ``scipy.stats``.
    n_trials : int or None, default=20
        Number of settings to try. None: until ``timeout``.
    timeout : float or None, default=None
        Seconds after which no trial begins. One that has begun is finished.
    cv : int, splitter, iterable of (train, test) or None, default=None
        Folds, as in ``GridSearchCV``; None is five.
    scoring : str, callable (estimator, X, y) or None, default=None
        One score, to be made large; None is the ``score`` of the estimator.
    n_steps : int or None, default=10
        Steps in which a trial is trained by ``partial_fit``. After each the mean score of the folds
        is reported, and the pruner may end the trial. None: every trial is one ``fit`` for each
        fold, and none is pruned, as are all trials of estimators without ``partial_fit``, such as
        pipelines.
    epochs_per_step : int, default=10
        Calls of ``partial_fit`` in a step, on all training rows of the fold. The parameter
        ``max_iter`` of the estimator is for ``fit``.
    sampler : optuna.samplers.BaseSampler or None, default=None
        Chooses the settings; a copy is used. None is ``TPESampler``, seeded by ``random_state``.
    pruner : optuna.pruners.BasePruner or None, default=None
        Decides after each step. None is ``MedianPruner()``, which ends a trial that is worse than
        the median of earlier ones at the same step, after five complete trials.
    n_jobs : int or None, default=None
        Folds of a trial that are fitted at once. Trials follow one another, because each is chosen
        by the results of those before it, and the result does not depend on ``n_jobs``. Steps of
        ``partial_fit`` run in threads, whole fits in joblib's backend.
    refit : bool, default=True
        Whether the best setting is then fitted to all rows by ``fit``.
    error_score : "raise" or float, default=nan
        The score of a fold whose fit or score raises an error. The trial then ends and is ranked
        last, with a warning.
    verbose : int, default=0
        Above 0 Optuna's log is left as the user has set it; 0 silences it in ``fit``.
    random_state : int, RandomState instance or None, default=None
        Seeds the default sampler. It is not passed to the estimator, which needs its own for
        results that repeat.

    Attributes
    ----------
    cv_results_ : dict of arrays
        As in ``GridSearchCV``, a row for each trial: ``params``, ``param_*``,
        ``split*_test_score``, ``mean_test_score``, ``std_test_score``, ``rank_test_score``,
        ``mean_fit_time`` and the like in seconds; and ``state`` ("complete", "pruned" or "failed")
        and ``n_steps``. Scores are those after the last step of a trial. Complete trials are ranked
        before pruned, these before failed ones.
    best_index_ : int
        Row of the best complete trial.
    best_params_ : dict of str to object
    best_score_ : float
        Mean score of the folds.
    best_estimator_ : estimator
        Fitted to all rows, with ``refit``.
    refit_time_ : float
        Seconds of that fit.
    study_ : optuna.Study
        All trials as Optuna knows them, for its plots. Scores after each step are the
        ``intermediate_values``. Objects of a list appear as text with their index, distributions
        of scipy as probabilities.
    scorer_ : callable (estimator, X, y)
    n_splits_ : int
    n_features_in_ : int
        With ``refit``.
    feature_names_in_ : ndarray of shape (n_features,)
        With ``refit``, if the estimator has it.

    See Also
    --------
    GUDGenerator.sweep : Schedules scored with one fit.

    Notes
    -----
    Steps of ``partial_fit`` are not the beginning of ``fit``. In them a ``GUDGenerator`` trains at
    the full learning rate and keeps no rows for validation, so that the score of
    ``best_estimator_``, which ``fit`` made, differs from ``best_score_``. Parameters that act in
    ``fit`` only, such as ``max_iter``, ``max_time`` and ``early_stopping``, need ``n_steps=None``.

    Each report scores all held-out rows: ``n_draws="coarse"`` makes a generator's reports cheaper.

    Metadata routing: ``fit`` passes ``groups`` to the splitter, and takes nothing else, such as
    sample weights.

    ``gudlearn.save`` writes ``best_estimator_``, and pickle the whole search.

    The log of Optuna belongs to the process: other studies in it are silent meanwhile, too.

    References
    ----------
    Akiba et al. (2019), Optuna: A next-generation hyperparameter optimization framework,
    https://arxiv.org/abs/1907.10902

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from gudlearn import GUDGenerator, OptunaSearchCV
    >>> gen = GUDGenerator(max_iter=20, n_draws=8, random_state=0)
    >>> space = {"basis": ["identity", "pca"], "schedule__softness": [0.3, 1.0, 3.0]}
    >>> search = OptunaSearchCV(
    ...     gen, space, n_trials=2, cv=2, n_steps=2, epochs_per_step=1, random_state=0
    ... ).fit(load_iris().data)
    >>> search.cv_results_["n_steps"].tolist()
    [2, 2]
    >>> search.sample(3).shape
    (3, 4)
    """

    _parameter_constraints = {
        "estimator": [HasMethods("fit")],
        "n_trials": [None, Interval(Integral, 1, None, closed="left")],
        "timeout": [None, Interval(Real, 0, None, closed="neither")],
        "cv": ["cv_object"],
        "scoring": [StrOptions(set(get_scorer_names())), callable, None],
        "n_steps": [None, Interval(Integral, 1, None, closed="left")],
        "epochs_per_step": [Interval(Integral, 1, None, closed="left")],
        "n_jobs": [None, Integral],
        "refit": ["boolean"],
        "error_score": [StrOptions({"raise"}), Real],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
    }

    def __init__(
        self, estimator: Any,
        param_distributions: Mapping[str, Any] | Callable[[Any], Mapping[str, Any]], *,
        n_trials: int = 20, timeout: float | None = None, cv: Any = None,
        scoring: str | Callable[..., float] | None = None, n_steps: int = 10,
        epochs_per_step: int = 10, sampler: Any = None, pruner: Any = None,
        n_jobs: int | None = None, refit: bool = True,
        error_score: float | Literal["raise"] = float("nan"), verbose: int = 0,
        random_state: RandomState = None,
    ) -> None:  # fmt: skip
        self.estimator = estimator
        self.param_distributions = param_distributions
        self.n_trials = n_trials
        self.timeout = timeout
        self.cv = cv
        self.scoring = scoring
        self.n_steps = n_steps
        self.epochs_per_step = epochs_per_step
        self.sampler = sampler
        self.pruner = pruner
        self.n_jobs = n_jobs
        self.refit = refit
        self.error_score = error_score
        self.verbose = verbose
        self.random_state = random_state

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=False)
    def fit(
        self, X: ArrayLike, y: ArrayLike | None = None, groups: ArrayLike | None = None,
    ) -> Self:  # fmt: skip
        """Try settings, and fit the best to all rows.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features), or images
            Rows in memory.
        y : array-like of shape (n_samples,) or None, default=None
            What the estimator is to predict.
        groups : array-like of shape (n_samples,) or None, default=None
            Groups of rows, for splitters such as ``GroupKFold``.

        Returns
        -------
        self : OptunaSearchCV

        Raises
        ------
        ValueError
            For bad parameters, before anything is fitted; if no trial is complete.
        TypeError
            For parameters of a wrong type.
        ImportError
            If Optuna is not installed.

        Warns
        -----
        FitFailedWarning
            If some trials failed.
        """
        optuna = _optuna()
        if self.n_trials is None and self.timeout is None:
            raise ValueError("n_trials=None and timeout=None never end. Give one of them.")
        space = Space(self.param_distributions, optuna)
        space.check_names(self.estimator)
        sampler, pruner = self._sampler(optuna), self._pruner(optuna)
        scorer = check_scoring(self.estimator, self.scoring)
        X, y, groups = indexable(X, y, groups)
        if y is None and get_tags(self.estimator).target_tags.required:
            raise ValueError(
                f"{type(self.estimator).__name__} requires y to be passed, but the target y is "
                "None."
            )
        # scikit-learn looks for whole numbers among labels before it refuses NaN.
        with np.errstate(invalid="ignore"):
            cv = check_cv(self.cv, y, classifier=is_classifier(self.estimator))
        splits = list(cv.split(X, y, groups))
        folds = Folds(X, y, splits, scorer, self.n_jobs, self.error_score)
        context = self._init_callback_context(max_subtasks=self.n_trials)
        context.call_on_fit_task_begin(estimator=self, X=X, y=y)
        with unchanged_on_error(self):
            with _log_of(optuna, self.verbose):
                study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)
                trials = self._search(study, space, folds, context, optuna.TrialPruned)
            self._keep(study, trials, len(splits), scorer)
            if self.refit:
                self._refit(X, y)
        context.call_on_fit_task_end(estimator=self, X=X, y=y)
        return self

    def _search(self, study, space, folds, context, pruned):
        """Run the trials; those that are pruned raise ``pruned`` to the study."""
        trials = []

        def objective(trial):
            task = context.subcontext(task_name="trial")
            task.call_on_fit_task_begin(estimator=self)
            params = space.draw(trial)

            def prunes(score, step):
                trial.report(score, step)
                return trial.should_prune()

            found = folds.run(
                new_candidate(self.estimator, params), params, self.n_steps, self.epochs_per_step,
                prunes,
            )  # fmt: skip
            trials.append(found)
            if task.call_on_fit_task_end(estimator=self):
                study.stop()
            if found.state == "pruned":
                raise pruned
            return float("nan") if found.state == "failed" else float(found.scores.mean())

        study.optimize(objective, n_trials=self.n_trials, timeout=self.timeout)
        if not trials:
            raise ValueError(
                f"timeout={self.timeout} seconds had passed before a trial began. Raise timeout."
            )
        return trials

    def _sampler(self, optuna):
        if self.sampler is None:
            return optuna.samplers.TPESampler(seed=derive_seed(self.random_state) % 2**32)
        _check_is("sampler", self.sampler, optuna.samplers.BaseSampler, "TPESampler")
        # A sampler's random state advances: the next fit shall begin with the same.
        return deepcopy(self.sampler)

    def _pruner(self, optuna):
        if self.pruner is None:
            return optuna.pruners.MedianPruner()
        _check_is("pruner", self.pruner, optuna.pruners.BasePruner, "MedianPruner")
        return deepcopy(self.pruner)

    def _keep(self, study, trials, n_splits, scorer):
        results = cv_results(trials)
        self.best_index_ = best_index(trials, results)
        self.best_params_ = results["params"][self.best_index_]
        self.best_score_ = results["mean_test_score"][self.best_index_]
        self.cv_results_, self.study_ = results, study
        self.n_splits_, self.scorer_ = n_splits, scorer
        for name in ("best_estimator_", "refit_time_", "feature_names_in_"):
            vars(self).pop(name, None)

    def _refit(self, X, y):
        best = new_candidate(self.estimator, self.best_params_)
        start = time.perf_counter()
        best.fit(X, *(() if y is None else (y,)))
        self.refit_time_ = time.perf_counter() - start
        self.best_estimator_ = best
        if hasattr(best, "feature_names_in_"):
            self.feature_names_in_ = best.feature_names_in_

    def score(self, X: ArrayLike, y: ArrayLike | None = None) -> float:
        """Score rows by ``scorer_`` and the best estimator.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features), or images
        y : array-like of shape (n_samples,) or None, default=None

        Returns
        -------
        float
        """
        if not self.refit:
            raise AttributeError("score needs the best estimator, but refit=False.")
        check_is_fitted(self)
        return self.scorer_(self.best_estimator_, X, *(() if y is None else (y,)))

    def _best(self, method, *args, **kwargs):
        check_is_fitted(self)
        return getattr(self.best_estimator_, method)(*args, **kwargs)

    @_best_has("sample")
    def sample(self, *args: Any, **kwargs: Any) -> Any:
        """Draw samples: ``best_estimator_.sample``.

        Parameters
        ----------
        *args, **kwargs
            As there.

        Returns
        -------
        ndarray or frame
        """
        return self._best("sample", *args, **kwargs)

    @_best_has("score_samples")
    def score_samples(self, X: ArrayLike) -> Any:
        """Scores of rows: ``best_estimator_.score_samples``.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features), or images

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        return self._best("score_samples", X)

    @_best_has("predict")
    def predict(self, X: ArrayLike) -> Any:
        """Predictions: ``best_estimator_.predict``.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features), or images

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        return self._best("predict", X)

    @_best_has("predict_proba")
    def predict_proba(self, X):
        """Probabilities of classes: ``best_estimator_.predict_proba``.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features), or images

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        return self._best("predict_proba", X)

    @_best_has("predict_log_proba")
    def predict_log_proba(self, X):
        """Logarithms of probabilities of classes: ``best_estimator_.predict_log_proba``.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features), or images

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        return self._best("predict_log_proba", X)

    @_best_has("decision_function")
    def decision_function(self, X):
        """Decision values: ``best_estimator_.decision_function``.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features), or images

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
        """
        return self._best("decision_function", X)

    @_best_has("transform")
    def transform(self, X: ArrayLike) -> Any:
        """Transformed rows: ``best_estimator_.transform``.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)

        Returns
        -------
        ndarray or frame
        """
        return self._best("transform", X)

    @_best_has("inverse_transform")
    def inverse_transform(self, X):
        """Rows in the original units: ``best_estimator_.inverse_transform``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components)

        Returns
        -------
        ndarray or frame
        """
        return self._best("inverse_transform", X)

    @property
    def classes_(self):
        """Labels of classes, if the best estimator has them."""
        return self._of_best("classes_")

    @property
    def n_features_in_(self):
        """Number of columns, with ``refit``."""
        return self._of_best("n_features_in_")

    def _of_best(self, name):
        # hasattr asks: before fit it has none.
        if not hasattr(self, "best_estimator_"):
            raise AttributeError(f"{name} is known after fit with refit=True.")
        return getattr(self.best_estimator_, name)

    def __sklearn_tags__(self):
        tags, of_estimator = super().__sklearn_tags__(), get_tags(self.estimator)
        for name in (
            "estimator_type", "classifier_tags", "regressor_tags", "transformer_tags", "input_tags",
            "target_tags",
        ):  # fmt: skip
            setattr(tags, name, deepcopy(getattr(of_estimator, name)))
        return tags
