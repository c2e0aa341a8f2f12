"""The search by Optuna: what it finds, prunes, reports and refuses."""

import pickle
import sys

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn import config_context
from sklearn.base import BaseEstimator, clone
from sklearn.datasets import load_iris
from sklearn.exceptions import FitFailedWarning, NotFittedError
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import GroupKFold, KFold, cross_val_score
from sklearn.naive_bayes import GaussianNB
from sklearn.preprocessing import PowerTransformer, StandardScaler

import gudlearn
from gudlearn import GenerativePipeline, OptunaSearchCV, PCABasis
from gudlearn.search.space import Space
from small import continuous, few_draws, mixed_frame, small

optuna = pytest.importorskip("optuna")
Float, Int = optuna.distributions.FloatDistribution, optuna.distributions.IntDistribution


@pytest.fixture(autouse=True)
def few_draws_of_noise(monkeypatch):
    few_draws(monkeypatch)


class Curve(BaseEstimator):
    """Its score is a parabola of ``place``, and rises by ``slope`` with each ``partial_fit``."""

    def __init__(self, place=0.0, slope=0.0, fails=False):
        self.place = place
        self.slope = slope
        self.fails = fails

    def fit(self, X, y=None):
        if self.fails:
            raise RuntimeError("this fit fails")
        self.calls_ = 0
        return self

    def partial_fit(self, X, y=None):
        calls = getattr(self, "calls_", 0)
        self.fit(X).calls_ = calls + 1
        return self

    def score(self, X, y=None):
        return self.slope * self.calls_ - (self.place - 0.3) ** 2


X = continuous(40)


def grid_of(**values):
    """A sampler that tries each value once, and the lists of them."""
    values = {name: list(choices) for name, choices in values.items()}
    return {"param_distributions": values, "sampler": optuna.samplers.GridSampler(values, seed=0)}


def test_the_maximum_of_a_parabola_is_found():
    search = OptunaSearchCV(
        Curve(), {"place": Float(-5, 5)}, n_trials=60, n_steps=1, cv=2, random_state=0
    ).fit(X)
    # Random places would be as near as this once in ten trials.
    assert search.best_params_["place"] == pytest.approx(0.3, abs=0.5)
    near = np.abs(np.array(search.cv_results_["param_place"]) - 0.3) < 1
    assert near[-30:].sum() > 10
    assert search.best_score_ == search.cv_results_["mean_test_score"].max()


def test_a_grid_ends_when_all_of_it_is_tried():
    places = [-1.0, 0.0, 0.25, 0.5, 1.0]
    search = OptunaSearchCV(Curve(), **grid_of(place=places), n_trials=50, cv=2).fit(X)
    assert sorted(search.cv_results_["param_place"]) == places
    assert search.best_params_ == {"place": 0.25}
    assert search.cv_results_["rank_test_score"][search.best_index_] == 1


def test_pruned_trials_make_fewer_steps():
    slopes = [-2.0, -0.1, 1.0, 2.0]
    search = OptunaSearchCV(
        Curve(place=0.3), **grid_of(slope=slopes), n_steps=5, epochs_per_step=3, cv=2,
        pruner=optuna.pruners.ThresholdPruner(lower=-1.0), n_trials=4,
    ).fit(X)  # fmt: skip
    rows = pd.DataFrame(search.cv_results_).set_index("param_slope").loc[slopes]
    assert rows["state"].tolist() == ["pruned", "pruned", "complete", "complete"]
    # -0.1 times the twelve calls of four steps is below -1 for the first time.
    assert rows["n_steps"].tolist() == [1, 4, 5, 5]
    np.testing.assert_allclose(rows["mean_test_score"], [-6, -1.2, 15, 30])
    # A pruned trial stands behind all complete ones, whatever its last score.
    assert rows["rank_test_score"].tolist() == [4, 3, 2, 1]
    assert search.best_params_ == {"slope": 2.0}
    states = [trial.state.name.lower() for trial in search.study_.trials]
    assert states == search.cv_results_["state"].tolist()
    assert [len(t.intermediate_values) for t in search.study_.trials] == (
        search.cv_results_["n_steps"].tolist()
    )


def test_complete_trials_rank_before_better_pruned_ones():
    search = OptunaSearchCV(
        Curve(place=0.3), **grid_of(slope=[1.0, 9.0]), n_steps=2, epochs_per_step=1, cv=2,
        pruner=optuna.pruners.ThresholdPruner(upper=5.0),
    ).fit(X)  # fmt: skip
    assert search.best_params_ == {"slope": 1.0} and search.best_score_ == 2.0
    assert search.cv_results_["mean_test_score"].max() == 9.0


def by_hand(model, n_calls, cv, X, *y):
    """Scores of folds after calls of ``partial_fit``."""
    scores = []
    for train, test in cv.split(X, *y):
        fold = clone(model)
        rows = X.iloc if hasattr(X, "iloc") else X
        for _ in range(n_calls):
            classes = {"classes": np.unique(y[0])} if y else {}
            fold.partial_fit(rows[train], *[labels[train] for labels in y], **classes)
        scores.append(fold.score(rows[test], *[labels[test] for labels in y]))
    return scores


@pytest.mark.parametrize("make", [continuous, mixed_frame])
def test_scores_are_those_of_cross_validation_and_the_best_is_fitted_again(make):
    X, gen, cv = make(), small(), KFold(2)
    space = {"basis": ["identity", PCABasis(whiten=True)], "schedule__softness": Float(0.3, 3)}
    if hasattr(X, "columns"):
        space["basis"] = ["identity", "auto"]
    search = OptunaSearchCV(
        gen, space, n_trials=2, n_steps=2, epochs_per_step=2, cv=cv, random_state=0
    ).fit(X)
    results = search.cv_results_
    for index, params in enumerate(results["params"]):
        scores = by_hand(clone(gen).set_params(**params), 4, cv, X)
        assert [results[f"split{split}_test_score"][index] for split in range(2)] == scores
        assert results["mean_test_score"][index] == np.mean(scores)
        assert results["std_test_score"][index] == np.std(scores)
    assert search.best_score_ == max(results["mean_test_score"])
    again = clone(gen).set_params(**search.best_params_).fit(X)
    np.testing.assert_array_equal(search.score_samples(X), again.score_samples(X))
    assert search.score(X) == again.score(X)
    drawn, expected = (model.sample(3, random_state=0) for model in (search, again))
    pd.testing.assert_frame_equal(pd.DataFrame(drawn), pd.DataFrame(expected))


def test_scores_of_a_classifier_are_those_of_cross_validation():
    # Without shuffling, training rows of a fold lack a class.
    X, y = load_iris(return_X_y=True)
    model, cv = SGDClassifier(random_state=0), KFold(3)
    search = OptunaSearchCV(
        model, {"alpha": Float(1e-4, 1, log=True)}, n_trials=3, n_steps=2, epochs_per_step=3, cv=cv,
        random_state=0, pruner=optuna.pruners.NopPruner(), scoring="accuracy",
    ).fit(X, y)  # fmt: skip
    for index, params in enumerate(search.cv_results_["params"]):
        scores = by_hand(clone(model).set_params(**params), 6, cv, X, y)
        assert search.cv_results_["mean_test_score"][index] == np.mean(scores)
    np.testing.assert_array_equal(search.predict(X), search.best_estimator_.predict(X))
    np.testing.assert_array_equal(search.classes_, [0, 1, 2])
    assert search.score(X, y) == np.mean(search.predict(X) == y)


def test_whole_fits_are_those_of_cross_validation_and_never_pruned():
    never = optuna.pruners.ThresholdPruner(lower=1e9)
    search = OptunaSearchCV(
        small(), {"basis": ["identity", "pca"]}, n_trials=2, n_steps=None, cv=2, pruner=never,
        random_state=0,
    ).fit(X)  # fmt: skip
    for mean, params in zip(
        search.cv_results_["mean_test_score"], search.cv_results_["params"], strict=True
    ):
        assert mean == cross_val_score(small(**params), X, cv=2).mean()
    assert set(search.cv_results_["n_steps"]) == {1}


def test_a_pipeline_of_objects_is_searched_by_whole_fits():
    rows = np.exp(continuous(60))
    last = small(preconditioning="gaussian", max_iter=0)
    pipeline = GenerativePipeline([("scale", StandardScaler()), ("gud", last)])
    scalers = [StandardScaler(), PowerTransformer()]
    search = OptunaSearchCV(
        pipeline,
        {"scale": scalers, "gud__schedule__softness": [0.5, np.inf]},
        n_trials=8, cv=2, random_state=0, pruner=optuna.pruners.ThresholdPruner(lower=1e9),
    ).fit(rows)  # fmt: skip
    assert set(search.cv_results_["state"]) == {"complete"}
    # The columns are log-normal.
    assert search.best_params_["scale"] is scalers[1]
    assert not hasattr(scalers[1], "lambdas_")
    assert search.sample(2).shape == (2, 3)


def test_the_result_depends_on_the_seed_and_not_on_n_jobs():
    space = {"schedule__softness": Float(0.1, 10, log=True), "network__width": Int(4, 16)}
    settings = {"n_trials": 2, "n_steps": 2, "epochs_per_step": 1, "cv": 2, "refit": False}

    def scores(**others):
        search = OptunaSearchCV(small(), space, **{**settings, "random_state": 0, **others})
        return search.fit(X).cv_results_["mean_test_score"].tolist()

    assert scores() == scores(n_jobs=2)
    assert scores() != scores(random_state=1)


def test_a_sampler_of_the_user_is_copied():
    sampler = optuna.samplers.RandomSampler(seed=0)
    search = OptunaSearchCV(Curve(), {"place": Float(0, 1)}, n_trials=3, cv=2, sampler=sampler)
    first = search.fit(X).cv_results_["params"]
    assert search.fit(X).cv_results_["params"] == first and search.sampler is sampler


def test_values_may_be_tuples_of_several_lengths_and_whole_numbers_by_table():
    space = {"place": [(0.5,), (0.5, 1.0)], "slope": stats.rv_discrete(values=([3, 7], [0.5, 0.5]))}
    drawn = Space(space, optuna)
    trial = optuna.trial.FixedTrial({"place": "1: (0.5, 1.0)", "slope": 0.9})
    params = drawn.draw(trial)
    assert params == {"place": (0.5, 1.0), "slope": 7} and type(params["slope"]) is int


def test_distributions_of_scipy_become_values():
    space = {"place": stats.norm(2, 0.5), "slope": stats.randint(3, 6)}
    search = OptunaSearchCV(
        Curve(), space, n_trials=200, n_steps=1, cv=2,
        sampler=optuna.samplers.RandomSampler(seed=0),
    ).fit(X)  # fmt: skip
    place = np.asarray(search.cv_results_["param_place"])
    assert place.mean() == pytest.approx(2, abs=5 * 0.5 / np.sqrt(200))
    slopes = [params["slope"] for params in search.cv_results_["params"]]
    assert set(slopes) == {3, 4, 5} and all(type(slope) is int for slope in slopes)


def test_values_that_are_equal_to_python_stay_apart():
    values = [1, 1.0, True]
    search = OptunaSearchCV(
        Curve(), {"place": values}, n_trials=30, n_steps=1, cv=2, random_state=0
    ).fit(X)
    found = {type(params["place"]) for params in search.cv_results_["params"]}
    assert found == {int, float, bool}


def test_failed_trials_rank_last_with_a_warning():
    search = OptunaSearchCV(Curve(), **grid_of(fails=[True, False]), cv=2, n_steps=2)
    with pytest.warns(FitFailedWarning, match="1 of 2 trials failed") as caught:
        search.fit(X)
    assert "this fit fails" in str(caught[0].message) and caught[0].filename == __file__
    rows = pd.DataFrame(search.cv_results_).set_index("param_fails")
    assert rows["state"].to_dict() == {True: "failed", False: "complete"}
    assert rows["rank_test_score"].to_dict() == {True: 2, False: 1}
    assert np.isnan(rows["mean_test_score"][True]) and search.best_params_ == {"fails": False}
    with pytest.raises(RuntimeError, match="this fit fails"):
        search.set_params(error_score="raise").fit(X)
    with pytest.warns(FitFailedWarning):
        search.set_params(error_score=1e6).fit(X)
    assert search.cv_results_["mean_test_score"].max() == 1e6
    assert search.best_params_ == {"fails": False}


def test_scores_of_nan_are_failures():
    def nan_or_zero(model, X, y=None):
        return np.nan if model.place else 0.0

    search = OptunaSearchCV(Curve(), **grid_of(place=[0.0, 1.0]), cv=2, scoring=nan_or_zero)
    with pytest.warns(FitFailedWarning, match="1 of 2 trials failed.*Their scores were NaN"):
        search.fit(X)
    assert search.best_params_ == {"place": 0.0}


@pytest.mark.parametrize(
    ("estimator", "more", "message"),
    [
        (Curve(fails=True), {}, "(?s)No trial is complete.*this fit fails"),
        (Curve(), {"pruner": optuna.pruners.ThresholdPruner(lower=9)}, "No trial is complete: all"),
        (Curve(), {"scoring": lambda *rows: np.nan}, "No trial is complete: the scores of all 2"),
        (Curve(), {"timeout": 1e-9}, "timeout=1e-09 seconds had passed"),
    ],
    ids=["fails", "pruned", "nan", "time"],
)
def test_an_error_says_why_nothing_was_found(estimator, more, message):
    search = OptunaSearchCV(estimator, {"place": [0.0, 1.0]}, n_trials=2, cv=2, **more)
    with pytest.raises(ValueError, match=message):
        search.fit(X)
    assert not hasattr(search, "cv_results_")


def test_a_failed_refit_leaves_what_was_fitted():
    class FailsOnAllRows(Curve):
        def fit(self, X, y=None):
            if self.slope and len(X) == 40:
                raise RuntimeError("too many rows")
            return super().fit(X)

    search = OptunaSearchCV(FailsOnAllRows(), {"place": [0.0]}, n_trials=1, n_steps=None, cv=2)
    before = search.fit(X).best_estimator_
    search.set_params(param_distributions={"slope": [1.0]})
    with pytest.raises(RuntimeError, match="too many rows"):
        search.fit(X)
    assert search.best_estimator_ is before and search.best_params_ == {"place": 0.0}


class Untouched(Curve):
    def fit(self, X, y=None):
        raise AssertionError("fitted in spite of bad input")


BAD = {
    "unknown": ({"param_distributions": {"plaec": [1]}}, ValueError, "Invalid parameter 'plaec'"),
    "empty": ({"param_distributions": {}}, ValueError, "param_distributions is empty"),
    "no values": ({"param_distributions": {"place": []}}, ValueError, r"\['place'\] is empty"),
    "matrix": (
        {"param_distributions": {"place": np.eye(2)}}, ValueError, r"array of shape \(2, 2\)",
    ),
    "a value": ({"param_distributions": {"place": 1.0}}, TypeError, "must be a list of values"),
    "a string": ({"param_distributions": {"place": "abc"}}, TypeError, "must be a list of values"),
    "a list": ({"param_distributions": [{"place": [1.0]}]}, TypeError, "must be a dict"),
    "n_trials": ({"n_trials": 0}, ValueError, "'n_trials' parameter"),
    "endless": ({"n_trials": None}, ValueError, "never end"),
    "timeout": ({"timeout": 0.0}, ValueError, "'timeout' parameter"),
    "n_steps": ({"n_steps": 0}, ValueError, "'n_steps' parameter"),
    "epochs": ({"epochs_per_step": 1.5}, ValueError, "'epochs_per_step' parameter"),
    "scoring": ({"scoring": ["accuracy", "f1"]}, ValueError, "'scoring' parameter"),
    "refit": ({"refit": "accuracy"}, ValueError, "'refit' parameter"),
    "error_score": ({"error_score": "nan"}, ValueError, "'error_score' parameter"),
    "pruner": (
        {"pruner": optuna.pruners.MedianPruner}, TypeError, "pruner=.* must be an instance of",
    ),
    "sampler": ({"sampler": "tpe"}, TypeError, r"sampler='tpe' must be .*TPESampler\(\)"),
    "rows": ({"cv": 50}, ValueError, "n_splits=50"),
    "groups": ({"cv": GroupKFold(2)}, ValueError, "'groups' parameter should not be None"),
    "no score": (
        {"estimator": StandardScaler(), "param_distributions": {"with_std": [True]}}, TypeError,
        "should have a 'score' method",
    ),
    "y": (
        {"estimator": GaussianNB(), "param_distributions": {"var_smoothing": [1e-9]}}, ValueError,
        "requires y to be passed",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_before_anything_is_fitted(name):
    more, kind, message = BAD[name]
    parameters = {"estimator": Untouched(), "param_distributions": {"place": [0.0]}, **more}
    search = OptunaSearchCV(**{"error_score": "raise", **parameters})
    with pytest.raises(kind, match=message):
        search.fit(X)


def test_a_parameter_of_a_named_specification_is_known_before_it_is_made():
    search = OptunaSearchCV(small(), {"schedule__sofness": [0.3]}, n_trials=1)
    with pytest.raises(ValueError, match="Did you mean 'softness'"):
        search.fit(X)


def test_without_optuna_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=r"pip install 'gudlearn\[search\]'"):
        OptunaSearchCV(Curve(), {"place": [0.0]}).fit(X)


def test_a_time_limit_alone_ends_a_search():
    search = OptunaSearchCV(
        Curve(), {"place": Float(0, 1)}, n_trials=None, timeout=0.3, n_steps=1, cv=2
    ).fit(X)
    assert len(search.cv_results_["params"]) >= 1


def test_groups_divide_the_rows():
    class Count(Curve):
        def score(self, X, y=None):
            return len(X)

    groups = np.repeat([0, 1, 2], [5, 15, 20])
    search = OptunaSearchCV(Count(), {"place": [0.0]}, n_trials=1, cv=GroupKFold(3))
    search.fit(X, groups=groups)
    assert sorted(search.cv_results_[f"split{i}_test_score"][0] for i in range(3)) == [5, 15, 20]
    with config_context(enable_metadata_routing=True):
        search.fit(X, groups=groups)
        assert "groups" in str(search.set_fit_request(groups=True).get_metadata_routing())


def test_methods_are_those_of_the_best_estimator():
    search = OptunaSearchCV(small(max_iter=0), {"basis": ["identity"]}, n_trials=1, cv=2, n_steps=1)
    assert hasattr(search, "sample") and not hasattr(search, "predict")
    assert not hasattr(search, "n_features_in_")
    with pytest.raises(NotFittedError):
        search.sample(1)
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    search.fit(frame)
    assert search.n_features_in_ == 3 and list(search.feature_names_in_) == ["a", "b", "c"]
    assert search.__sklearn_tags__().estimator_type == "density_estimator"
    assert search.refit_time_ > 0 and search.n_splits_ == 2
    search.set_params(refit=False).fit(frame)
    assert not hasattr(search, "best_estimator_") and not hasattr(search, "feature_names_in_")
    assert not hasattr(search, "sample") and search.best_params_ == {"basis": "identity"}
    with pytest.raises(AttributeError, match="refit=False"):
        search.score(frame)


def test_a_search_is_cloned_pickled_and_has_nested_parameters():
    bases = {"basis": ["identity", PCABasis()]}
    search = OptunaSearchCV(small(max_iter=0), bases, n_trials=2, cv=2)
    search.set_params(estimator__schedule__softness=0.5, n_steps=1)
    assert clone(search).estimator.schedule.softness == 0.5
    search.fit(X)
    again = pickle.loads(pickle.dumps(search))
    np.testing.assert_array_equal(again.score_samples(X), search.score_samples(X))
    assert len(again.study_.trials) == 2
    with pytest.raises(TypeError, match="OptunaSearchCV"):
        gudlearn.save(search, "never written")


def test_optuna_is_silent_unless_asked(capfd, caplog):
    search = OptunaSearchCV(Curve(), {"place": [0.0]}, n_trials=1, cv=2)
    before = optuna.logging.get_verbosity()
    search.fit(X)
    assert capfd.readouterr() == ("", "") and not caplog.text
    assert optuna.logging.get_verbosity() == before
    search.set_params(verbose=1).fit(X)
    assert "Trial 0 finished" in caplog.text


class Counting:
    """A callback that stops the search after some trials."""

    def __init__(self, most):
        self.most, self.events = most, []

    def setup(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context, **kwargs):
        self.events.append(("begin", context.task_name))

    def on_fit_task_end(self, estimator, context, **kwargs):
        self.events.append(("end", context.task_name))
        return sum(event == ("end", "trial") for event in self.events) >= self.most

    def teardown(self, estimator, context):
        pass


def test_callbacks_see_trials_and_may_stop_the_search():
    callback = Counting(most=2)
    search = OptunaSearchCV(Curve(), {"place": Float(0, 1)}, n_trials=5, cv=2)
    search.set_callbacks(callback).fit(X)
    assert len(search.cv_results_["params"]) == 2
    trial = [("begin", "trial"), ("end", "trial")]
    assert callback.events == [("begin", "fit"), *trial, *trial, ("end", "fit")]
