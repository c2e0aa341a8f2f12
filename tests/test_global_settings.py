"""Settings of a process or a thread, and neighbours in it, change no bit of a result."""

import functools
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn import config_context
from sklearn.base import clone
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from torch import nn

from gudlearn import (
    MLP,
    GenerativePipeline,
    GUDClassifier,
    GUDGenerator,
    GUDImputer,
    GUDOutlierDetector,
    GUDRegressor,
    MarginalGaussianizer,
    UNet,
)
from registry import BASES
from small import continuous, few_draws, small, whole


def with_missing(X):
    X = X.astype(float)
    X[::4, 1] = np.nan
    return X


def mixed():
    """A continuous column, and one of small counts."""
    X = np.c_[continuous(), np.random.default_rng(0).poisson(3, 40)]
    return X[:, [0, 3]]


def pictures():
    """Ten images of 4 x 4 pixels, not symmetric."""
    return np.random.default_rng(0).normal(size=(10, 4, 4)).cumsum(2)


# What is computed under each setting, by name: functions that yield arrays.


def table():
    gen = small(bin_width=[np.nan, 1.0], conditional_rate=0.3, retrieval="auto").fit(mixed())
    partial = with_missing(mixed()[:3])
    yield gen.score_samples(mixed()[:5])
    yield gen.score_columns(mixed()[:3])
    yield gen.sample(4)
    yield gen.sample(2, given=partial)
    yield gen.conditional_mean(partial, n_samples=2)
    yield gen.sample_trajectory(2, 3).denoised
    yield gen.log_snr([0.0, 0.5, 1.0])


def flow():
    X = continuous(20, 1)
    yield small(likelihood="flow").fit(X).score_samples(X[:1])


def clusters():
    gen = small(preconditioning="mixture").fit(whole() - 2.0)
    yield gen.score_samples(whole()[:3])
    yield gen.sample(2)


def guidance():
    X = continuous()
    gen = small(basis="pca", conditional_rate=0.3, conditioning="posterior").fit(X)
    yield gen.sample(2, given=with_missing(X[:2]))
    yield gen.sample(2, observation=(np.ones((1, 3)), [0.5], 0.1))
    yield gen.set_params(conditioning="repaint").sample(1, given=with_missing(X[:2]))


def classes():
    X, y = continuous(), np.arange(40) % 2
    gen = small(class_conditional=True).fit(X, y)
    yield gen.score_samples(X[:5], 1)
    yield gen.sample(3, [0, 1, 1], guidance=2.0)


def stream():
    gen = small()
    for rows in (continuous(), continuous(seed=1)):
        yield gen.partial_fit(rows).score_samples(rows[:5])


def strips():
    gen = small(conditional_rate=0.5).fit(continuous(40, 4))
    yield from gen.extend(continuous(2, 4), 3, return_log_likelihood=True)
    columns = gen.iter_extend(continuous(2, 4))
    yield np.stack([next(columns) for _ in range(2)])


def images():
    gen = generator("unet", 0).fit(pictures())
    yield gen.score_samples(pictures()[:2])
    yield gen.sample(2)


def foreign_network():
    gen = generator("foreign", 0).fit(continuous())
    yield gen.score_samples(continuous()[:3])
    yield gen.sample(2)


def underflow():
    """Squares of tiny units, and probabilities of far rows, are too small for float64."""
    X, y = continuous(), np.arange(40) % 2
    yield small().fit(1e-170 * X).score_samples(1e-170 * X[:3])
    classifier = GUDClassifier(small()).fit(X, y)
    yield classifier.predict_proba(1e10 * X[:3])
    yield classifier.predict(1e10 * X[:3])


def around_a_generator():
    X, y = np.c_[whole(), continuous()], np.arange(40) % 2
    yield GUDClassifier(small()).fit(X, y).predict_proba(X[:3])
    yield GUDClassifier(small(), method="density").fit(X, y).predict_proba(X[:3])
    regressor = GUDRegressor(small(), random_state=0).fit(X, X[:, 0] ** 2)
    yield regressor.predict_quantile(X[:3], [0.1, 0.9])
    yield regressor.log_prob(X[:3], X[:3, 0] ** 2)
    yield GUDOutlierDetector(small()).fit(X).score_samples(X[:3])
    yield GUDImputer(small(), n_samples=2, random_state=0).fit_transform(with_missing(X))
    steps = [("scale", MinMaxScaler()), ("normal", MarginalGaussianizer(2)), ("gud", small())]
    pipeline = GenerativePipeline(steps).fit(continuous())
    yield pipeline.score_samples(continuous()[:3])
    yield pipeline.sample(3, random_state=0)


def transformers():
    X = continuous() * [1.0, 1e-3, 1e3]
    for transformer in [*BASES, MarginalGaussianizer()]:
        Z = clone(transformer).fit_transform(X)
        yield Z
        yield clone(transformer).fit(X).inverse_transform(Z)


RUNS = [
    table, flow, clusters, guidance, classes, stream, strips, images, foreign_network, underflow,
    around_a_generator, transformers,
]  # fmt: skip


@contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


SETTINGS = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "default_dtype": lambda: default_dtype(torch.float64),
}
every_run = pytest.mark.parametrize("run", RUNS, ids=lambda run: run.__name__)


@pytest.fixture(autouse=True)
def few_draws_and_steps(monkeypatch):
    few_draws(monkeypatch)
    # The flow takes long even for one row.
    monkeypatch.setattr("gudlearn.model.fitted._FLOW_STEPS", 4)


def global_random_states():
    return np.random.get_state()[1].copy(), torch.get_rng_state().numpy()  # noqa: NPY002


@functools.cache
def by_default(run):
    """Results under the default settings, and the global random states before and after."""
    before = global_random_states()
    return list(run()), before, global_random_states()


@every_run
def test_global_random_states_stay(run):
    _, before, after = by_default(run)
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)


@every_run
@pytest.mark.parametrize("setting", SETTINGS)
def test_results_do_not_depend_on_global_settings(setting, run):
    expected, _, _ = by_default(run)
    # NumPy raises errors in each of these settings.
    with SETTINGS[setting](), np.errstate(all="raise"):
        found = list(run())
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


# Threads


class Foreign(nn.Module):
    """A network of other people, whose dropout draws from torch's global state."""

    def __init__(self, n_components, n_channels):
        super().__init__()
        self.inner = nn.Linear(n_channels * n_components, 16)
        self.outer = nn.Linear(16, n_components)
        self.dropout = nn.Dropout(0.5)

    def forward(self, inputs, gamma):
        return self.outer(self.dropout(torch.relu(self.inner(inputs.flatten(1)))))


NETWORKS = {
    "mlp": MLP(width=16, n_blocks=1, dropout=0.5),
    "unet": UNet(width=8, multipliers=(1,), n_blocks=1, dropout=0.5),
    "foreign": Foreign,
}


def generator(kind, seed):
    network, flips = NETWORKS[kind], kind == "unet"
    return small(network=network, random_flips=flips, random_state=seed, batch_size=8)


@pytest.fixture
def frequent_switches():
    """Let threads take turns often."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def rows_for(kind):
    return pictures() if kind == "unet" else continuous()


def test_fits_in_threads_agree_with_fits_one_after_another(frequent_switches):
    def results(kind, seed):
        X = rows_for(kind)
        gen = generator(kind, seed).fit(X)
        return [*gen.weights_.values(), gen.loss_curve_, gen.score_samples(X[:4]), gen.sample(2)]

    fits = [(kind, seed) for kind in NETWORKS for seed in (0, 1)]
    before = global_random_states()
    expected = [results(*fit) for fit in fits]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(results, *zip(*fits, strict=True)))
    np.testing.assert_equal(global_random_states(), before)
    for fit, one, other in zip(fits, found, expected, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b, err_msg=str(fit))


@pytest.mark.parametrize("kind", NETWORKS)
def test_threads_share_a_fitted_generator(kind, frequent_switches):
    X = rows_for(kind)
    gen = generator(kind, 0).fit(X)
    expected = gen.score_samples(X[:4]), gen.sample(2, random_state=1)
    # Without the model that scores have built.
    shared = pickle.loads(pickle.dumps(gen))
    with ThreadPoolExecutor(4) as pool:
        scores = [pool.submit(shared.score_samples, X[:4]) for _ in range(4)]
        samples = [pool.submit(shared.sample, 2, random_state=1) for _ in range(4)]
    for score, sample in zip(scores, samples, strict=True):
        np.testing.assert_array_equal(score.result(), expected[0])
        np.testing.assert_array_equal(sample.result(), expected[1])


# Containers of transformers' output

FRAMES = {"pandas": pd.DataFrame, "polars": pl.DataFrame}
TRANSFORMERS = [
    *BASES,
    MarginalGaussianizer(2),
    GUDImputer(small(max_iter=1), n_samples=2, add_indicator=True, random_state=0),
]
every_transformer = pytest.mark.parametrize(
    "transformer", TRANSFORMERS, ids=lambda transformer: type(transformer).__name__
)
every_output = pytest.mark.parametrize("output", FRAMES)


def data_for(transformer):
    return with_missing(continuous()) if isinstance(transformer, GUDImputer) else continuous()


def assert_frame_of(frame, values, names, output):
    assert type(frame) is FRAMES[output]
    assert list(frame.columns) == list(names)
    np.testing.assert_array_equal(frame.to_numpy(), values)


@every_output
@every_transformer
def test_output_of_transformers_follows_the_configuration(transformer, output):
    X = data_for(transformer)
    fitted = clone(transformer).fit(X)
    values, names = fitted.transform(X), fitted.get_feature_names_out()
    with config_context(transform_output=output):
        assert_frame_of(fitted.transform(X), values, names, output)
        # Nothing inside of fit sees frames.
        assert_frame_of(clone(transformer).fit_transform(X), values, names, output)


@every_output
@every_transformer
def test_output_of_transformers_follows_set_output(transformer, output):
    X = data_for(transformer)
    fitted = clone(transformer).set_output(transform=output).fit(X)
    values = clone(transformer).fit(X).transform(X)
    assert_frame_of(fitted.transform(X), values, fitted.get_feature_names_out(), output)


def pipeline():
    steps = [("scale", StandardScaler()), ("minmax", MinMaxScaler()), ("gud", small())]
    return GenerativePipeline(steps)


@pytest.mark.parametrize("frames", [False, True], ids=["array", "frame"])
@every_output
def test_pipelines_do_not_depend_on_the_output_of_transformers(output, frames):
    X = pd.DataFrame(continuous(), columns=list("abc")) if frames else continuous()
    plain = pipeline().fit(X)
    expected = plain.score_samples(X), plain.sample(3, random_state=0)

    def check(model):
        np.testing.assert_array_equal(model.score_samples(X), expected[0])
        sample = model.sample(3, random_state=0)
        assert type(sample) is type(expected[1])
        np.testing.assert_array_equal(sample, expected[1])

    with config_context(transform_output=output):
        check(plain)
        check(pipeline().fit(X))


@every_output
@pytest.mark.parametrize("steps", [["scale"], ["minmax"], ["scale", "minmax"]], ids="+".join)
def test_pipelines_do_not_depend_on_the_output_of_single_steps(output, steps):
    X = continuous()
    plain, model = pipeline().fit(X), pipeline()
    for step in steps:
        model[step].set_output(transform=output)
    model.fit(X)
    # Frames come in another memory order: sums may differ in the last bit.
    np.testing.assert_allclose(model.score_samples(X), plain.score_samples(X), rtol=1e-9)
    samples = (m.sample(3, random_state=0) for m in (model, plain))
    np.testing.assert_allclose(*samples, rtol=1e-9)


@every_output
def test_generators_do_not_depend_on_the_output_of_transformers(output):
    X = continuous()
    with config_context(transform_output=output):
        gen = small(basis="pca").fit(X)
        scores, sample = gen.score_samples(X[:5]), gen.sample(3)
    plain = small(basis="pca").fit(X)
    assert isinstance(sample, np.ndarray) and isinstance(gen, GUDGenerator)
    np.testing.assert_array_equal(scores, plain.score_samples(X[:5]))
    np.testing.assert_array_equal(sample, plain.sample(3))
