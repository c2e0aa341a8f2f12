"""Small models of every kind, and what they compute."""

from functools import cache

import numpy as np
import pandas as pd
import polars as pl
from sklearn.preprocessing import PowerTransformer, StandardScaler

from gudlearn import (
    BlockBasis,
    FourierBasis,
    GenerativePipeline,
    GUDClassifier,
    GUDGenerator,
    GUDImputer,
    GUDOutlierDetector,
    GUDRegressor,
    IdentityBasis,
    MarginalGaussianizer,
    PCABasis,
    Schema,
    Transformer,
    WaveletBasis,
    _random,
)
from small import continuous, random_images, small, tiny, whole, with_missing

N = 60


def mixed(n=N, seed=0):
    """A frame of every type of column, with point masses and missing values."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({
        "age": rng.integers(18, 80, n),
        "income": np.where(rng.random(n) < 0.4, 0.0, rng.lognormal(size=n)),
        "city": rng.choice(["a", "b", "c"], n),
        "size": pd.Categorical(
            rng.choice(["s", "m", "l"], n), categories=["s", "m", "l"], ordered=True
        ),
        "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 99, n), "D"),
        "seen": pd.to_datetime(rng.integers(0, 10**9, n), unit="s", utc=True).tz_convert(
            "Europe/Paris"
        ),
        "flag": rng.random(n) < 0.5,
        "count": pd.array(rng.integers(0, 9, n), dtype="Int64"),
        "span": pd.to_timedelta(rng.integers(0, 99, n), "h"),
    })  # fmt: skip
    frame.loc[3, "city"] = None
    frame.loc[4, "count"] = pd.NA
    return frame


def golden_rows():
    """Rows like those of `mixed`, of columns of golden files; the same in every version."""
    return pd.DataFrame({
        "age": [35, 61, 18, 79], "income": [0.0, 1.25, 0.5, 3.0], "city": ["a", "c", None, "b"],
        "day": pd.to_datetime(["2024-01-03", "2024-03-01", "2024-02-11", "2024-01-31"]).astype(
            "datetime64[us]"
        ),
        "seen": pd.to_datetime([10**8, 5 * 10**8, 7 * 10**8, 3], unit="s", utc=True).tz_convert(
            "Europe/Paris"
        ),
        "flag": [True, False, True, True], "count": pd.array([3, None, 0, 8], dtype="Int64"),
    })  # fmt: skip


def in_polars():
    """A frame of polars."""
    frame = mixed()
    return pl.DataFrame({
        "age": frame["age"].to_numpy(), "city": frame["city"].fillna("a").tolist(),
        "day": frame["day"].dt.date.tolist(), "seen": frame["day"].dt.to_pydatetime().tolist(),
        "size": pl.Series(frame["size"].tolist(), dtype=pl.Enum(["s", "m", "l"])),
    })  # fmt: skip


def added():
    """A frame in which two columns add up to a third, and not all pairs of levels occur."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": np.arange(N) % 7, "b": np.arange(N) % 5})
    pairs = np.array(["xu", "xv", "yv"])[rng.integers(3, size=N)]
    return frame.assign(c=frame.a + frame.b, d=[p[0] for p in pairs], e=[p[1] for p in pairs])


def labels():
    """Two classes of rows."""
    return np.array(["u", "v"])[np.arange(N) % 2]


def one(**parameters):
    """A generator that makes one epoch."""
    return small(max_iter=1, **parameters)


def _fitted_constraints():
    schema = Schema(constraints=["a + b == c"], forbid_unseen=[("d", "e")])
    return one(schema=schema).fit(added()), added()


def _pipeline():
    steps = [("scale", StandardScaler()), ("turn", PCABasis()), ("gud", one())]
    X = pd.DataFrame(continuous(N), columns=["a", "b", "c"])
    return GenerativePipeline(steps).fit(X), X


def _discrete_pipeline():
    steps = [("power", PowerTransformer()), ("gud", one())]
    return GenerativePipeline(steps, bin_width=1.0).fit(whole(N)), whole(N)


def _heavy_tails():
    X = np.random.default_rng(0).standard_t(2, size=(400, 2))
    return one(retrieval=20, conditional_rate=0.3).fit(X), X


def _fit(model, X, *y):
    return lambda: (model().fit(X(), *(of() for of in y)), X())


_MODELS = {
    "numbers": _fit(one, lambda: continuous(N)),
    "named numbers": _fit(
        lambda: one(basis="pca", schedule="soft", class_conditional=False),
        lambda: pd.DataFrame(continuous(N), columns=["a", "b", "c"]),
    ),
    "clusters": _fit(lambda: one(preconditioning="mixture"), lambda: continuous(N)),
    "heavy tails": _heavy_tails,
    "mixed frame": _fit(one, mixed),
    "polars": _fit(lambda: one(device="cpu"), in_polars),
    "constraints": _fitted_constraints,
    "images": _fit(lambda: tiny(max_iter=1), lambda: random_images(30)),
    "images, transformer": _fit(
        lambda: one(network=Transformer(width=16, n_blocks=1), basis="fourier"),
        lambda: random_images(30),
    ),
    "classes": _fit(lambda: one(class_conditional=True), lambda: continuous(N), labels),
    "classifier": _fit(lambda: GUDClassifier(one()), mixed, labels),
    "classifier by density": _fit(
        lambda: GUDClassifier(one(), method="density"), lambda: continuous(N), labels
    ),
    "regressor": _fit(
        lambda: GUDRegressor(one()), lambda: continuous(N), lambda: continuous(N)[:, 0]
    ),
    "imputer": _fit(
        lambda: GUDImputer(one(), add_indicator=True, random_state=0, n_samples=2),
        lambda: with_missing(continuous(N)),
    ),
    "imputer of frames": _fit(lambda: GUDImputer(one(), n_samples=2, random_state=0), mixed),
    "outliers": _fit(lambda: GUDOutlierDetector(random_state=0), mixed),
    "outliers by density": _fit(
        lambda: GUDOutlierDetector(one(), method="density"), lambda: whole(N)
    ),
    "pipeline": _pipeline,
    "discrete pipeline": _discrete_pipeline,
    "gaussianizer": _fit(MarginalGaussianizer, lambda: continuous(N)),
    **{
        f"basis {basis!r}": _fit(lambda basis=basis: basis, lambda: continuous(N, 4))
        for basis in (
            IdentityBasis(), PCABasis(whiten=0.5), FourierBasis(shape=(2, 2)), WaveletBasis(),
            BlockBasis([("one", PCABasis(), [0, 2]), ("two", IdentityBasis(), [1, 3])]),
        )
    },
}  # fmt: skip
NAMES = list(_MODELS)


@cache
def fitted(name):
    """A fitted model and its rows."""
    return _MODELS[name]()


def outputs(model, X):
    """What a model computes of rows, and draws, a list of arrays and frames."""
    few = X[:3]
    if isinstance(model, GUDGenerator | GenerativePipeline):
        return [model.score_samples(few), model.sample(3, random_state=1)]
    if isinstance(model, GUDOutlierDetector):
        return [model.score_samples(few)]
    if isinstance(model, GUDClassifier):
        return [model.predict_proba(few), model.predict(few)]
    if isinstance(model, GUDRegressor):
        return [model.predict(few)]
    return [model.transform(few)]


def assert_same(a, b):
    """Raise if outputs differ in a bit, or in a dtype."""
    assert type(a) is type(b)
    if isinstance(a, pl.DataFrame):
        assert a.equals(b) and a.schema == b.schema
    elif isinstance(a, pd.DataFrame):
        pd.testing.assert_frame_equal(a, b, check_exact=True)
    else:
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def outcome(seed, salt):
    """Scores, samples and weights of a fit with a seed, in a process whose salt may be another."""
    _random.SALT = salt
    gen = one(random_state=seed, conditional_rate=0.3).fit(continuous(N))
    arrays = [gen.score_samples(continuous(5)), gen.sample(3, random_state=1)]
    return [*arrays, *gen.weights_.values()]
