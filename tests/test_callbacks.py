"""scikit-learn's callbacks, ours, and verbose."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.model_selection import GridSearchCV

from gudlearn import LikelihoodMonitor
from small import continuous, small


class Recorder:
    """Keeps what each pass hands out, and asks to stop after some passes."""

    def __init__(self, stop_after=None):
        self.stop_after = stop_after
        self.passes = []

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context, *, X=None):
        pass

    def on_fit_task_end(self, estimator, context, *, X=None, fitted_estimator=None):
        if context.task_name != "pass":
            return None
        self.passes.append(fitted_estimator)
        return len(self.passes) == self.stop_after


class Everywhere(Recorder):
    """Counts passes in every estimator below the one it is set on."""

    max_propagation_depth = None


def test_an_interrupted_fit_has_made_the_passes_it_recorded():
    class Interrupts(Recorder):
        def on_fit_task_end(self, estimator, context, *, X=None, fitted_estimator=None):
            if super().on_fit_task_end(estimator, context, fitted_estimator=fitted_estimator):
                raise KeyboardInterrupt

    X = continuous()
    gen = small(max_iter=20, warm_start=True).set_callbacks(Interrupts(stop_after=3))
    with pytest.raises(KeyboardInterrupt):
        gen.fit(X)
    assert gen.n_iter_ == len(gen.loss_curve_) == 3
    gen.set_callbacks().fit(X)
    assert gen.n_iter_ == len(gen.loss_curve_) == 23
    assert gen.validation_iters_ == sorted(gen.validation_iters_)


def test_a_callback_is_called_after_each_pass_with_a_fitted_estimator():
    X = continuous()
    recorder = Recorder()
    gen = small(max_iter=3).set_callbacks(recorder).fit(X)
    assert [g.n_iter_ for g in recorder.passes] == [1, 2, 3]
    assert all(np.isfinite(g.score(X)) for g in recorder.passes)
    assert [len(g.loss_curve_) for g in recorder.passes] == [1, 2, 3]
    assert gen.loss_curve_ == recorder.passes[-1].loss_curve_


def test_the_weights_that_are_kept_are_those_of_the_best_evaluation():
    recorder = Recorder()
    # So large a rate soon makes it worse.
    gen = small(max_iter=6, learning_rate_init=1.0).set_callbacks(recorder).fit(continuous())
    best = int(np.argmax(gen.validation_scores_))
    assert best < len(gen.validation_scores_) - 1
    assert gen.best_validation_score_ == max(gen.validation_scores_)
    n_passes = gen.validation_iters_[best]
    untrained = small(max_iter=0).fit(continuous())
    kept = recorder.passes[n_passes - 1] if n_passes else untrained
    for name, weight in gen.weights_.items():
        np.testing.assert_array_equal(weight, kept.weights_[name])


def test_a_callback_that_answers_true_stops_training():
    gen = small(max_iter=9).set_callbacks(Recorder(stop_after=2)).fit(continuous())
    assert gen.n_iter_ == 2
    assert len(gen.loss_curve_) == 2


def test_callbacks_do_not_change_the_fit():
    X = continuous()
    plain = small().fit(X)
    watched = small().set_callbacks(Recorder(), LikelihoodMonitor(every=1)).fit(X)
    np.testing.assert_array_equal(plain.score_samples(X), watched.score_samples(X))


def test_the_progress_bar_runs(capsys):
    small().set_callbacks(ProgressBar()).fit(continuous())
    assert "GUDGenerator - fit" in capsys.readouterr().out


def test_the_progress_bar_runs_without_a_number_of_passes(capsys):
    gen = small(max_iter="auto", max_time=0.2).set_callbacks(ProgressBar()).fit(continuous())
    assert gen.n_iter_ == len(gen.loss_curve_)
    assert "GUDGenerator - fit" in capsys.readouterr().out


def test_the_monitor_logs_the_score_of_each_chosen_pass():
    X, held_out = continuous(), continuous(seed=1)
    monitor, recorder = LikelihoodMonitor(held_out, every=2), Recorder()
    small(max_iter=5).set_callbacks(monitor, recorder).fit(X)
    log = monitor.get_logs().data
    assert [entry["task_id"] for entry in log] == [1, 3]
    expected = [recorder.passes[i].score(held_out) for i in (1, 3)]
    np.testing.assert_allclose([entry["log_likelihood"] for entry in log], expected)


def test_the_monitor_scores_evenly_spread_rows_at_most():
    X = continuous(100)
    monitor, recorder = LikelihoodMonitor(every=1, max_rows=5), Recorder()
    small(max_iter=1).set_callbacks(monitor, recorder).fit(X)
    some = X[np.linspace(0, 99, 5).astype(int)]
    (entry,) = monitor.get_logs().data
    assert entry["log_likelihood"] == pytest.approx(recorder.passes[0].score(some))


@pytest.mark.parametrize("given", [True, False])
def test_the_monitor_takes_frames(given):
    X = pd.DataFrame(continuous(), columns=list("abc"))
    monitor = LikelihoodMonitor(X if given else None, every=1, max_rows=9)
    small(max_iter=1).set_callbacks(monitor).fit(X)
    assert len(monitor.get_logs().data) == 1


def test_scikit_learns_monitor_is_harmless():
    gen = small().set_callbacks(ScoringMonitor(scoring="r2")).fit(continuous())
    assert gen.n_iter_ == 2


def test_a_grid_search_passes_callbacks_on(capsys):
    search = GridSearchCV(small(), {"schedule__softness": [0.5, np.inf]}, cv=2)
    callback = Everywhere()
    search.set_callbacks(callback, ProgressBar()).fit(continuous())
    # Two candidates on two splits and the refit, of two passes each.
    assert len(callback.passes) == (2 * 2 + 1) * 2
    assert "GridSearchCV" in capsys.readouterr().out


def test_a_monitor_inside_a_grid_search_logs_every_fit():
    monitor = LikelihoodMonitor(every=2)
    gen = small().set_callbacks(monitor)
    GridSearchCV(gen, {"max_iter": [2, 4]}, cv=2).fit(continuous())
    assert len(monitor.get_logs().data) >= 2 * (1 + 2)


def test_callbacks_are_kept_by_clone():
    monitor = LikelihoodMonitor(every=1)
    clone(small(max_iter=1).set_callbacks(monitor)).fit(continuous())
    assert len(monitor.get_logs().data) == 1


@pytest.mark.parametrize("name", ["every", "max_rows"])
@pytest.mark.parametrize("value", [0, -1, 2.5, True, "1"])
def test_numbers_of_the_monitor_are_checked(name, value):
    with pytest.raises(ValueError, match=f"{name}=.* must be a whole number of at least 1"):
        LikelihoodMonitor(**{name: value})


def test_verbose_prints_one_line_for_each_evaluation(capsys):
    gen = small(max_iter=3, verbose=1).fit(continuous())
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(gen.validation_scores_) > 1
    for line, n_passes in zip(lines, gen.validation_iters_, strict=True):
        assert line.startswith(f"pass {n_passes}: validation")


def test_nothing_is_printed_unasked(capsys):
    X = continuous()
    gen = small().fit(X)
    gen.sample(2)
    gen.score(X)
    assert capsys.readouterr() == ("", "")
