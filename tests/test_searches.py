"""Searches over parameters, and pipelines of scikit-learn and of this library in them."""

import os

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PowerTransformer, StandardScaler

from gudlearn import (
    FourierBasis,
    GenerativePipeline,
    PCABasis,
    SoftConditioningSchedule,
)
from small import continuous, few_draws, small, whole


@pytest.fixture(autouse=True)
def few_draws_of_noise(monkeypatch):
    few_draws(monkeypatch)


def test_a_grid_search_over_schedules_and_bases():
    X = whole(48, 4)
    grid = {
        "schedule__softness": [0.3, np.inf],
        "basis": [PCABasis(), FourierBasis(shape=(2, 2))],
        "bin_width": [1.0],
    }
    # Without validation the weights are those of the last epoch; the first give one score to all.
    gen = small(schedule=SoftConditioningSchedule(), validation_fraction=0)
    search = GridSearchCV(gen, grid, cv=2, error_score="raise").fit(X)
    scores = search.cv_results_["mean_test_score"]
    assert np.isfinite(scores).all()
    assert len(set(scores)) == 4
    assert search.best_estimator_.sample(2).shape == (2, 4)
    assert search.score(X) == search.best_estimator_.score(X)


def test_a_grid_search_over_the_softness_of_a_named_schedule():
    search = GridSearchCV(small(max_iter=1), {"schedule__softness": [0.3, np.inf]}, cv=2)
    search.fit(continuous())
    assert isinstance(search.best_estimator_.schedule_, SoftConditioningSchedule)


def test_successive_halving():
    search = HalvingGridSearchCV(
        small(),
        {"schedule__softness": [0.3, np.inf]},
        resource="max_iter",
        max_resources=2,
        min_resources=1,
        factor=2,
        cv=2,
        random_state=0,
    )
    assert search.fit(continuous()).best_estimator_.max_iter == 2


def test_a_halving_search_over_pipelines():
    last = small(preconditioning="gaussian")
    pipeline = GenerativePipeline([("scale", StandardScaler()), ("gud", last)])
    search = HalvingGridSearchCV(
        pipeline,
        {
            "scale": [StandardScaler(), PowerTransformer()],
            "gud__basis": ["identity", PCABasis()],
            "gud__schedule__softness": [0.5, np.inf],
        },
        resource="gud__max_iter",
        max_resources=2,
        min_resources=1,
        factor=2,
        cv=2,
        random_state=0,
    )
    X = np.exp(continuous(60))
    search.fit(X)
    assert len(search.cv_results_["params"]) > 8
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    # The columns are log-normal. In the units of X the other scaler has 2.5 nats less.
    assert isinstance(search.best_params_["scale"], PowerTransformer)
    assert search.best_estimator_.sample(2).shape == (2, 3)


def test_a_pipeline_of_scikit_learn_scores_in_the_units_of_its_components():
    X = continuous()
    basis = PCABasis()
    model = make_pipeline(basis, small()).fit(X)
    Z = PCABasis().fit_transform(X)
    assert model.score(X) == pytest.approx(small().fit(Z).score(Z), rel=1e-9)


def test_a_generative_pipeline_adds_the_determinant_of_a_power_transformation():
    X = np.exp(0.5 * continuous())
    inner = small()
    model = GenerativePipeline([("power", PowerTransformer()), ("gud", inner)]).fit(X)
    power = model.named_steps["power"]
    # Yeo-Johnson of positive values has the slope (x + 1)^(lambda - 1), then comes the scaler.
    log_det = ((power.lambdas_ - 1) * np.log1p(X) - np.log(power._scaler.scale_)).sum(1)
    np.testing.assert_allclose(
        model.score_samples(X), inner.score_samples(power.transform(X)) + log_det, rtol=1e-9
    )
    rows = model.sample(50, random_state=0)
    assert rows.shape == (50, 3)
    assert (rows > -1).all()
    np.testing.assert_array_equal(model.sample(50, random_state=0), rows)


def test_a_generative_pipeline_makes_scores_of_scalers_comparable():
    X = continuous() * [1, 100, 0.01]
    apart = {"max_iter": 0, "preconditioning": "marginal"}
    plain = small(**apart).fit(X)
    scaled = GenerativePipeline([("scale", StandardScaler()), ("gud", small(**apart))]).fit(X)
    np.testing.assert_allclose(scaled.score_samples(X), plain.score_samples(X), rtol=1e-6)


def test_a_grid_search_over_a_generative_pipeline_in_two_processes():
    model = GenerativePipeline([("scale", StandardScaler()), ("gud", small(max_iter=1))])
    grid = {
        "scale": [StandardScaler(), PowerTransformer()],
        "gud__basis": ["identity", PCABasis()],
        "gud__schedule__softness": [0.5],
    }
    search = GridSearchCV(model, grid, cv=2, n_jobs=2, error_score="raise").fit(continuous())
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_estimator_.sample(2).shape == (2, 3)


def score_and_process(model, X, y=None):
    return {"score": model.score(X), "process": os.getpid()}


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_workers_of_dask_find_the_same_scores():
    dask, distributed = pytest.importorskip("dask"), pytest.importorskip("distributed")
    X, grid = continuous(), {"basis": ["identity", "pca"], "schedule__softness": [0.5, np.inf]}
    alone = GridSearchCV(small(), grid, cv=2, scoring=score_and_process, refit="score").fit(X)
    # Forked workers need not import torch again.
    forked = dask.config.set({"distributed.worker.multiprocessing-method": "fork"})
    two = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with (
        forked, distributed.LocalCluster(**two) as cluster, distributed.Client(cluster) as client,
        joblib.parallel_config("dask"),
    ):  # fmt: skip
        shared = clone(alone).fit(X)
        workers = set(client.run(os.getpid).values())
    for name in ("split0_test_score", "split1_test_score", "mean_test_score", "rank_test_score"):
        np.testing.assert_array_equal(shared.cv_results_[name], alone.cv_results_[name])
    assert len(workers) == 2
    for split in range(2):
        assert set(shared.cv_results_[f"split{split}_test_process"]) <= workers
