"""Mistakes that mypy must find: it complains about each ``type: ignore`` that is not needed."""

import numpy as np
from numpy.typing import NDArray

import gudlearn
from gudlearn import metrics
from gudlearn.testing import check_basis

Floats = NDArray[np.float64]


def parameters() -> None:
    """Names, values and types of parameters."""
    gudlearn.GUDGenerator(schedul="linear")  # type: ignore[call-arg]
    gudlearn.GUDGenerator(basis="pcs")  # type: ignore[arg-type]
    gudlearn.GUDGenerator(sampler=gudlearn.DDIM)  # type: ignore[arg-type]
    gudlearn.GUDGenerator(schema={"zip": "category"})  # type: ignore[arg-type]
    gudlearn.GUDGenerator(max_time="5m")  # type: ignore[arg-type]
    gudlearn.GUDGenerator("auto", "auto", "auto", "auto", "auto")  # type: ignore[call-arg]
    gudlearn.Schema(missing="keep")  # type: ignore[arg-type]
    gudlearn.Schema(feature_types={"zip": "text"})  # type: ignore[dict-item]
    gudlearn.Training(strategy="fsdp")  # type: ignore[arg-type]
    gudlearn.SoftConditioningSchedule(softness="1")  # type: ignore[arg-type]
    gudlearn.DDIM(steps=2.5)  # type: ignore[arg-type]
    gudlearn.UNet(multipliers=2)  # type: ignore[arg-type]
    gudlearn.GUDClassifier("density")  # type: ignore[arg-type]
    gudlearn.GenerativePipeline("gud")  # type: ignore[arg-type]
    gudlearn.GUDImputer(strategy="mode")  # type: ignore[arg-type]
    gudlearn.GUDOutlierDetector(method="forest")  # type: ignore[arg-type]


def calls(X: Floats, gen: gudlearn.GUDGenerator) -> None:
    """Arguments and results of methods and functions."""
    gen.fit(None)  # type: ignore[arg-type]
    gen.fit(X, sample_weight=X)  # type: ignore[call-arg]
    gen.sample("10")  # type: ignore[call-overload]
    gen.sample(10, given={0: 1.0}, random_state="0")  # type: ignore[call-overload]
    gen.score(X).mean()  # type: ignore[attr-defined]
    gen.score_samples(X).keys()  # type: ignore[attr-defined]
    gen.conditional_proba({"a": 1})  # type: ignore[call-arg]
    gen.n_iter_ = 3  # type: ignore[misc]
    gen.extend(X, 3, side="up")  # type: ignore[call-overload]
    gudlearn.GUDRegressor().fit(X)  # type: ignore[call-arg]
    gudlearn.GUDRegressor().fit(X, X).predict(X, statistic="mod")  # type: ignore[arg-type]
    gudlearn.save("model.gud")  # type: ignore[call-arg]
    gudlearn.load(3)  # type: ignore[arg-type]
    metrics.two_sample_auc(X)  # type: ignore[call-arg]
    print(metrics.two_sample_auc(X, X).acu)  # type: ignore[attr-defined]
    metrics.report(X, X, X, max_rows="all")  # type: ignore[arg-type]
    gudlearn.LossCurveDisplay.from_estimator()  # type: ignore[call-arg]
    check_basis("pca")  # type: ignore[arg-type]
