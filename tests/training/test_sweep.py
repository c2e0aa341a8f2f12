"""One network for a family of schedules, and sweeps over it."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

import gudlearn
from gaussian import COVARIANCE, MEAN, gaussian_rows
from gudlearn import (
    LinearSchedule,
    SequentialSchedule,
    SoftConditioningSchedule,
    Training,
    VPSchedule,
)
from gudlearn.diffusion.path_bank import PathBank
from gudlearn.diffusion.paths import WindowedGamma
from gudlearn.model.state import UNIFORM_TIMES
from gudlearn.training.trainer import Batch
from small import (
    continuous,
    dependent,
    few_draws,
    mixed_frame,
    random_images,
    small,
    tiny,
    whole,
    with_missing,
)
from toy import toy_rows, toy_trainer

SOFT, LN2 = SoftConditioningSchedule(softness=0.5), np.log(2)
FAMILY = {"softness": (0.1, np.inf), "window": (1, 3)}
GRID = {"schedule__softness": [0.1, 1.0, np.inf], "schedule__window": [1, 2]}


def family(definition=FAMILY, **parameters):
    return small(training=Training(schedule_family=definition), **parameters)


def assert_same_weights(a, b):
    assert a.weights_.keys() == b.weights_.keys()
    for name, weights in a.weights_.items():
        np.testing.assert_array_equal(weights, b.weights_[name])


# Training


def test_a_family_of_one_schedule_trains_as_that_schedule_does():
    X = continuous()
    for parameters in ({}, {"conditional_rate": 0.3}, {"validation_fraction": 0}):
        one = small(schedule=SOFT, **parameters).fit(X)
        both = family({"softness": [0.5]}, schedule=SOFT, **parameters).fit(X)
        assert_same_weights(one, both)
        assert both.score(X) == one.score(X)


def test_a_family_trains_other_weights_than_its_schedule_does():
    X = continuous()
    # Weights that are judged may be the untrained ones.
    one, both = (make(validation_fraction=0).fit(X).weights_ for make in (small, family))
    assert any((weights != both[name]).any() for name, weights in one.items())


@pytest.mark.parametrize("width", [1.0, 0.4])
@pytest.mark.parametrize("loss", ["likelihood", "uniform"])
def test_rows_on_windows_have_the_loss_of_their_path(loss, width):
    plain, windowed = toy_trainer(loss), toy_trainer(loss)
    path = WindowedGamma([-6.0, -6.0], [6.0, 6.0], [0.0, 1 - width], [width] * 2)
    plain.path = path.to(dtype=torch.float32)
    plain.family = PathBank([plain.path])
    windowed.family = PathBank([plain.path, plain.path])
    batch, means, losses = Batch(toy_rows(256)), [], []
    for trainer in (plain, windowed):
        with torch.no_grad():
            found = [trainer.batch_loss(batch)[:2] for _ in range(60)]
        losses.append(np.array([float(loss) for loss, _ in found]))
        means.append(np.array([float(mean) for _, mean in found]))
    error = np.hypot(*(m.std(ddof=1) / len(m) ** 0.5 for m in means))
    assert abs(means[0].mean() - means[1].mean()) < 5 * error
    # Every active component has the same weight.
    assert losses[1].mean() / means[1].mean() == pytest.approx(width, rel=1e-5)


@pytest.mark.parametrize(
    ("parameters", "X"),
    [
        ({}, with_missing(continuous())),
        ({"conditional_rate": 0.5, "bin_width": 1.0}, whole()),
        ({"targets": [0]}, continuous()),
        ({"targets": "all"}, continuous()),
        ({"retrieval": 10, "accumulation_steps": 3}, continuous()),
        ({"basis": "pca", "loss_weighting": "uniform"}, continuous()),
        ({}, mixed_frame().assign(d=list("abcd") * 10, e=np.repeat([0.0, 1.5, 2.5, 0.0], 10))),
    ],
    ids=["missing", "whole", "targets", "all", "retrieval", "pca", "mixed"],
)
def test_families_are_trained_and_swept_on_every_kind_of_table(parameters, X):
    gen = family(**parameters).fit(X)
    results = gen.sweep(X, GRID, n_draws=4, X_train=X, adapt_iter=1).results
    assert np.isfinite(results["bits_per_dim"]).all() and len(results) == 5


def test_images_of_classes_have_families_too():
    X, y = random_images(12), np.arange(12) % 2
    definition = {"schedule": ["cosine", "vp"]}
    gen = tiny(training=Training(schedule_family=definition), class_conditional=True).fit(X, y)
    swept = gen.sweep(
        X[:4], {"schedule": ["vp"]}, y[:4], n_draws=2, X_train=X, y_train=y, adapt_iter=1
    )
    assert np.isfinite(swept.results["bits_per_dim"]).all()


def test_partial_fit_follows_the_family():
    X = continuous()
    weights = []
    for training in ("auto", Training(schedule_family={"softness": [0.01, 0.1, 1.0]})):
        gen = family(schedule="soft").partial_fit(X)
        assert gen.state_.schedule_family.problem(SOFT) is None
        gen.set_params(training=training).partial_fit(X)
        weights.append(gen.weights_)
    assert gen.state_.schedule_family.problem(SOFT) is not None
    # The optimiser is the same, the paths are not.
    assert any((one != weights[1][name]).any() for name, one in weights[0].items())


# Sweeps


@pytest.mark.parametrize("exact_control", [True, False])
def test_every_schedule_of_an_exact_denoiser_has_the_density_of_the_gaussian(exact_control):
    # The network is zero, and the joint Gaussian is the distribution of the rows.
    gen = family(max_iter=0, preconditioning="joint").fit(gaussian_rows(4000))
    if not exact_control:
        # Without its control variate the bound has noise, and the denoiser enters it.
        gen.state_ = replace(gen.state_, time_weights=UNIFORM_TIMES)
    X = gaussian_rows(60, seed=1)
    results = gen.sweep(X, GRID, n_draws=64).results
    expected = -stats.multivariate_normal(MEAN, COVARIANCE).logpdf(X).mean() / (4 * LN2)
    noise = gen.score_samples(X, n_draws=64, return_std=True)[1] / (4 * LN2)
    # The moments of 4000 rows have errors of 2 %.
    atol = 0.02 + 5 * np.sqrt(np.square(noise).mean() / len(X))
    np.testing.assert_allclose(results["bits_per_dim"], expected, rtol=0, atol=atol)
    errors = results["std_error_difference"]
    # The marginals are mixtures, which are not quite normal.
    assert (results["difference"] <= 5 * errors + 2e-3).all()
    assert (errors.max() < 2e-3) == exact_control
    assert results["spread"].max() < (0.015 if exact_control else 0.3)


def test_a_sweep_over_the_schedule_of_the_fit_is_its_score():
    X = continuous(60)
    for gen in (small(schedule=SOFT).fit(X[:40]), family(schedule=SOFT).fit(X[:40])):
        for n_draws in ("coarse", 5):
            scores = -gen.score_samples(X[40:], n_draws=n_draws) / (3 * LN2)
            for grid in ({}, {"schedule__softness": [0.5]}, {"schedule": [SOFT]}):
                (row,) = gen.sweep(X[40:], grid, n_draws=n_draws).results.itertuples()
                assert row.bits_per_dim == pytest.approx(scores.mean(), rel=1e-12)
                assert row.std_error == pytest.approx(scores.std(ddof=1) / 20**0.5)
                assert (row.difference, row.spread, row.rank) == (0, 0, 1)


@pytest.mark.parametrize("softness", [[0.1, 1.0, np.inf], [np.inf, 1.0, 0.1]], ids=str)
def test_results_are_statistics_of_the_scores_under_each_schedule(softness):
    # The best one is not the first in at least one of the two orders.
    X, grid = continuous(70), {"schedule__softness": softness, "schedule__window": [1, 2]}
    gen = family(max_iter=10, validation_fraction=0).fit(X[:40])
    # A network that is off, and thus inconsistent; untrained weights would be consistent.
    off = {name: 5 * weights for name, weights in gen.weights_.items()}
    gen.state_ = replace(gen.state_, weights=off)
    state, params = gen.state_, gen.get_params()
    swept = gen.sweep(X[40:], grid)
    assert gen.state_ is state and gen.get_params() == params
    bits, noise = [], []
    for schedule in swept.results["schedule"]:
        gen.schedule_ = schedule
        score, std = gen.score_samples(X[40:], n_draws="coarse", return_std=True)
        bits.append(-score / (3 * LN2))
        noise.append(std / (3 * LN2))
    bits, noise = np.array(bits), np.square(noise).mean(1)
    best = bits.mean(1).argmin()
    difference = bits - bits[best]
    from_mean = np.square(bits - bits.mean(0)).mean(1) - 3 / 5 * noise - noise.mean() / 5
    expected = {
        "bits_per_dim": bits.mean(1), "std_error": bits.std(1, ddof=1) / 30**0.5,
        "difference": difference.mean(1),
        "std_error_difference": difference.std(1, ddof=1) / 30**0.5,
        "spread": np.sqrt(from_mean.clip(0)), "rank": stats.rankdata(bits.mean(1)),
    }  # fmt: skip
    for name, column in expected.items():
        np.testing.assert_allclose(swept.results[name], column, rtol=1e-9, atol=1e-12)
    assert swept.best_index == best
    assert repr(swept.best_params) == repr({"schedule": swept.results["schedule"][best]})
    # The columns of the grid, with NaN where a kind lacks the parameter.
    columns = swept.results[["schedule__softness", "schedule__window"]]
    pd.testing.assert_frame_equal(columns, pd.DataFrame({
        "schedule__softness": [*softness, np.nan, np.nan],
        "schedule__window": [np.nan] * 3 + [1.0, 2.0],
    }))  # fmt: skip
    gen.schedule_ = swept.results["schedule"][best]
    assert swept.best_estimator.score(X) == gen.score(X)
    # With so many draws it is told from the noise.
    gen.state_ = state
    few = gen.sweep(X[40:50], {"schedule__softness": [0.1, np.inf]}, n_draws=600)
    assert few.results["spread"].min() > 0


def test_the_winner_is_fitted_further_for_itself(monkeypatch):
    few_draws(monkeypatch)
    X = continuous(60)
    gen = family(max_iter=4, max_time=100.0).fit(X[:40])
    weights = gen.weights_
    swept = gen.sweep(X[40:], GRID, X_train=X[:40], refine=True)
    best = swept.best_estimator
    assert gen.weights_ is weights and gen.n_iter_ == 4 and best.n_iter_ == 7
    same = ("max_iter", "max_time", "warm_start")
    assert [getattr(best, name) for name in same] == [getattr(gen, name) for name in same]
    assert best.schedule_.get_params() == swept.best_params["schedule"].get_params()
    assert gen.training.schedule_family == FAMILY and best.training.schedule_family is None
    # It is what a fit with a warm start would be.
    gen.set_params(warm_start=True, max_iter=3, max_time=None, training="auto")
    gen.set_params(**swept.best_params)
    assert_same_weights(best, gen.fit(X[:40]))


def test_each_schedule_is_trained_by_itself_before_it_is_scored():
    X, grid = dependent(), {"schedule__window": [1, 2]}
    # Columns that nearly agree, of which an untrained product of marginals knows nothing.
    gen = family(max_iter=1, preconditioning="marginal").fit(X)
    plain, after = gen.sweep(X[::4], grid).results, {"X_train": X, "adapt_iter": 100}
    swept = gen.sweep(X[::4], grid, **after)
    # Over salts it is 1.1 less, with a standard deviation of 0.07.
    assert (swept.results["bits_per_dim"] < plain["bits_per_dim"] - 0.5).all()
    best = swept.best_estimator
    assert best.n_iter_ == gen.n_iter_ and best.state_.schedule_family is None
    # One schedule is adapted as it is among several.
    one = gen.sweep(X[::4], {"schedule": [best.schedule_]}, **after)
    assert_same_weights(one.best_estimator, best)


def test_families_are_saved(tmp_path):
    X = continuous()
    gen = family({"schedule": ["soft"], "softness": (0.1, np.inf), "order": [[2, 1, 0]]}).fit(X)
    gudlearn.save(gen, tmp_path / "model")
    loaded = gudlearn.load(tmp_path / "model")
    grid = {"schedule__softness": [0.1, 1.0], "schedule__order": [[2, 1, 0]]}
    np.testing.assert_array_equal(
        loaded.sweep(X, grid).results["bits_per_dim"], gen.sweep(X, grid).results["bits_per_dim"]
    )
    with pytest.raises(ValueError, match="softness=0.05 is outside the range from 0.1 to inf"):
        loaded.sweep(X, {"schedule__softness": [0.05], "schedule__order": [[2, 1, 0]]})


# Refusals


def test_a_schedule_outside_the_family_is_refused():
    X = continuous()
    gen = family({"softness": (0.1, 1.0), "window": [1, 2]}).fit(X)
    for grid, message in [
        ({"schedule__softness": [0.5, 2.0]}, "softness=2.0 is outside the range from 0.1 to 1.0, "),
        ({"schedule__window": [3]}, r"schedule__window=3 is none of \[1, 2\], for which this gen"),
        ({"schedule": [VPSchedule()]}, "schedule=VPSchedule.* is none of SoftConditioningSchedule"),
    ]:
        with pytest.raises(ValueError, match=message + r".*Fit with training=Training\(schedule_f"):
            gen.sweep(X, grid)


def test_without_a_family_only_the_schedule_in_use_is_swept():
    X = continuous()
    gen = small().fit(X)
    assert len(gen.sweep(X, {"schedule": [LinearSchedule()]}).results) == 1
    with pytest.raises(ValueError, match=r"is none of LinearSchedule, .*Training\(schedule_family"):
        gen.sweep(X, {"schedule__softness": [0.5]})
    gen.schedule_ = SequentialSchedule(window=2)
    assert len(gen.sweep(X, {"schedule__window": [2]}).results) == 1


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"refine": True}, "refine=True trains on rows .* Pass X_train"),
        ({"adapt_iter": 2}, "adapt_iter=2 trains on rows .* Pass X_train"),
        ({"adapt_iter": -1}, "adapt_iter=-1 must be 'auto' or a number of epochs of at least 0"),
        ({"refine_iter": 0}, "refine_iter=0 must be 'auto' or a number of epochs of at least 1"),
        ({"refine_iter": "all"}, "refine_iter='all' must be 'auto' or a number"),
        ({"n_draws": 0}, "n_draws"),
    ],
)
def test_wrong_arguments_of_a_sweep_are_refused(parameters, message):
    X = continuous()
    gen = small(max_iter=0).fit(X)
    with pytest.raises(ValueError, match=message):
        gen.sweep(X, {}, **parameters)


def test_a_class_conditional_model_is_adapted_with_labels():
    X, y = continuous(), np.arange(40) % 2
    gen = family(class_conditional=True).fit(X, y)
    with pytest.raises(ValueError, match="requires y"):
        gen.sweep(X, {}, y, X_train=X, adapt_iter=1)
    assert len(gen.sweep(X, GRID, y, X_train=X, y_train=y, adapt_iter=1).results) == 5
