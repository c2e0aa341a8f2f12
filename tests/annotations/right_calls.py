"""What users write, for mypy alone: ``make types`` finds no error here. Nothing is called."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, assert_type

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import gudlearn
from gudlearn import metrics
from gudlearn.testing import check_basis, check_generator, check_schedule

Floats = NDArray[np.float64]


def tables(train: pd.DataFrame, test: pd.DataFrame) -> None:
    """Fit, sample and score a frame."""
    schema = gudlearn.Schema(
        feature_types={"zip": "category"}, missing="model", bin_width={"price": 0.01, "size": None},
        constraints=["goods + shipping == total"], forbid_unseen=[("city", "zip")],
    )  # fmt: skip
    training = gudlearn.Training(checkpoint=Path("run.ckpt"), devices=2, strategy="ddp_fork")
    gen = gudlearn.GUDGenerator(
        "pca", gudlearn.SoftConditioningSchedule(softness=0.5), network=gudlearn.MLP(width=64),
        sampler=gudlearn.DPMSolver(steps=30), schema=schema, training=training, max_time=60,
        bin_width=[1.0, np.nan], bin_range=(0, 16), conditional_rate=0.3, targets=["price"],
        random_state=np.random.RandomState(0),
    )  # fmt: skip
    gen = assert_type(gen.fit(train), gudlearn.GUDGenerator)
    gen.fit("folder/of/parquet").partial_fit([train, test])
    gen.sample(3, given={"city": "Graz"}, where={"price": (10, None)}).describe()
    rows, labels = gen.sample(3, y=[0, 1, 2], return_y=True, random_state=0)
    assert_type(gen.score(test), float)
    assert_type(gen.bits_per_dim(test, given_columns=["city"]), float)
    assert_type(gen.score_samples(test), Floats)
    scores, errors = assert_type(
        gen.score_samples(test, n_draws="coarse", return_std=True), tuple[Floats, Floats]
    )
    print(scores / errors, gen.loss_curve_[-1], gen.n_iter_ + 1, gen.basis_.transform(train))
    assert_type(gen.iter_sample(10**6, block_size=1000), Iterator[Any])
    gen.conditional_proba(pd.Series({"price": 3.0}), "city")
    gen.conditional_quantile({"city": "Graz"}, [0.05, 0.95], n_samples=50)
    gen.schedule_ = gudlearn.SequentialSchedule(window=2, order=[2, 0, 1])
    sweep = gen.sweep(test, {"schedule__softness": [0.1, np.inf]}, refine=True)
    print(sweep.results.sort_values("bits_per_dim"), gen.diagnose(test).summary)
    gudlearn.save(gen, "model.gud")
    gudlearn.load(Path("model.gud"), trusted=["a.B"]).sample(3)
    gudlearn.show_versions()


def arrays(X: Floats, y: NDArray[np.int64], images: NDArray[np.uint8]) -> None:
    """Images, bases, networks and pipelines."""
    network = gudlearn.UNet(width=32, multipliers=(1, 2, 4), attention=(False, True, True))
    gen = gudlearn.GUDGenerator(gudlearn.WaveletBasis((8, 8), levels=2), network=network)
    gen.fit(images, y).sample(10, y=range(10), guidance=1.5)
    longer, log_likelihood = gen.extend(images, 8, side="left", return_log_likelihood=True)
    blocks = gudlearn.BlockBasis([("first", gudlearn.PCABasis(shrinkage=0.1), [0, 1])])
    gudlearn.GUDGenerator(basis=blocks, network=gudlearn.Transformer(n_heads=4)).fit(X.tolist())
    steps = [("gauss", gudlearn.MarginalGaussianizer()), ("gud", gen)]
    pipeline = gudlearn.GenerativePipeline(steps)
    assert_type(pipeline.fit(X).score(X), float)
    print(gudlearn.FourierBasis(shape=(8, 8)).fit(X).inverse_transform(X).shape)


def estimators(X: pd.DataFrame, y: pd.Series) -> None:
    """Predict, impute and find outliers."""
    generator = gudlearn.GUDGenerator(max_iter=10)
    classifier = gudlearn.GUDClassifier(generator, priors=[0.5, 0.5]).fit(X, y)
    assert_type(classifier.predict_proba(X), Floats)
    classifier.predict(X)[0]
    regressor = gudlearn.GUDRegressor(random_state=0).fit(X, y)
    regressor.predict(X, statistic="median")
    assert_type(regressor.log_prob(X, y), Floats)
    imputer = gudlearn.GUDImputer(strategy="sample", add_indicator=True)
    imputer.fit(X).sample_imputations(X, m=3)
    detector = gudlearn.GUDOutlierDetector(contamination="auto", method="kernel").fit(X)
    assert_type(detector.score_samples(X), Floats)
    gudlearn.OptunaSearchCV(generator, {"basis": ["pca"]}, n_trials=5, timeout=60.0).fit(X)


def judged(train: pd.DataFrame, test: pd.DataFrame, fake: pd.DataFrame) -> None:
    """Metrics, reports, displays and contracts."""
    assert_type(metrics.two_sample_auc(test, fake).auc, float)
    print(metrics.train_on_synthetic(train, test, fake, "y", task="classification").loss)
    metrics.frechet_distance(test, fake, features=lambda rows: rows)
    report = metrics.report(train, test, fake, target="y")
    report.save(Path("report.html"), title="Mine")
    report.to_frame().round(2)
    gen = gudlearn.GUDGenerator()
    display = gudlearn.MarginalsDisplay.from_samples(test, fake, columns=["a", "b"])
    assert_type(display, gudlearn.MarginalsDisplay)
    display.plot(name="again", color="C1")
    gudlearn.LossCurveDisplay.from_estimator(gen)
    gudlearn.ScheduleDisplay.from_schedule(gudlearn.LinearSchedule(), [1.0, 2.0])
    results = check_generator(gen, on_fail="warn", expected_failed_checks={"check_x": "why"})
    print(results[0]["status"])
    check_basis(gudlearn.IdentityBasis(whiten=0.5))
    check_schedule(gudlearn.VPSchedule(b_min=0.2))
