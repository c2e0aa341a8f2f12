"""Bad input: what is refused, the words of each message, and that an earlier fit survives."""

import copy

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler
from sklearn.utils import gen_batches

from gudlearn import (
    MLP,
    DPMSolver,
    FourierBasis,
    GenerativePipeline,
    GUDClassifier,
    GUDGenerator,
    LinearSchedule,
    PCABasis,
    SequentialSchedule,
    SoftConditioningSchedule,
)
from small import continuous, few_draws, small, whole

METHODS = ["score_samples", "score_components", "score", "bits_per_dim"]


def with_value(value):
    X = continuous()
    X[3, 1] = value
    return X


def no_module(n_components, n_channels):
    return None


@pytest.fixture(autouse=True)
def few_draws_of_noise(monkeypatch):
    few_draws(monkeypatch)


@pytest.fixture(scope="module")
def fitted():
    """A generator fitted to `continuous()`; tests that change it take a copy."""
    return small().fit(continuous())


MIXED = np.array([[1, 2, "a"], [1, 2, 3]] * 2, dtype=object)
DICT = np.array([[1, 2.5, 3], [1, {"a": 1}, 3]] * 2, dtype=object)
BAD_ROWS = {
    "inf": (with_value(np.inf), ValueError, "contains infinity"),
    "-inf": (with_value(-np.inf), ValueError, "contains infinity"),
    "1d": (continuous()[:, 0], ValueError, "Expected 2D array, got 1D array"),
    "list": (continuous()[:, 0].tolist(), ValueError, "Expected 2D array, got 1D array"),
    "scalar": (3.0, ValueError, "Expected 2D array, got scalar"),
    "empty": (np.empty((0, 3)), ValueError, "0 sample"),
    "sparse": (scipy.sparse.csr_array(continuous()), TypeError, "Sparse data was passed"),
    "complex": (continuous() + 1j, ValueError, "Complex data not supported"),
    "ragged": ([[1.0, 2.0, 3.0], [4.0]], ValueError, "inhomogeneous"),
    "mixed": (MIXED, ValueError, "Column 'x2' mixes types: it holds 'a' and 3"),
    "dict": (DICT, TypeError, "'x1' holds {'a': 1}: an argument must be a string or a real number"),
}
# To a first fit these are images.
THREE_AXES = {"3d": (continuous()[None], ValueError, "Found array with dim 3")}


@pytest.mark.parametrize(("X", "error", "message"), BAD_ROWS.values(), ids=BAD_ROWS)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_bad_rows_are_refused_by_fit(X, error, message, method):
    with pytest.raises(error, match=message):
        getattr(small(), method)(X)


def test_a_value_off_the_grid_is_named_with_its_row_and_column():
    X = whole()
    X[7, 1] = -0.5
    with pytest.raises(ValueError, match="'x1' holds -0.5 in row 7.*multiple of bin_width=1. Pass"):
        small(bin_width=1.0).fit(X)
    with pytest.raises(ValueError, match="multiple of bin_width=1. Pass"):
        small(bin_width=1.0).fit(continuous())


def test_an_infinite_value_is_named_with_its_row_and_column():
    with pytest.raises(ValueError, match="contains infinity: column 'x1', row 3; 1 entries"):
        small().fit(with_value(np.inf))


@pytest.mark.parametrize(
    ("X", "error", "message"),
    (BAD_ROWS | THREE_AXES).values(),
    ids=BAD_ROWS | THREE_AXES,
)
def test_bad_rows_are_refused_by_scores(X, error, message, fitted):
    for method in METHODS:
        with pytest.raises(error, match=message):
            getattr(fitted, method)(X)


def test_text_where_numbers_were_fitted_is_named(fitted):
    X = np.array([[1, 2, "a"]] * 4, dtype=object)
    for method in (*METHODS, "partial_fit"):
        with pytest.raises(ValueError, match="'x2' holds the non-numeric value 'a' in row 0, but"):
            getattr(copy.deepcopy(fitted), method)(X)


def test_a_table_without_columns_is_refused():
    with pytest.raises(ValueError, match="0 feature"):
        small().fit(np.empty((5, 0)))


@pytest.mark.parametrize("method", [*METHODS, "partial_fit"])
def test_another_number_of_columns_is_refused(method, fitted):
    with pytest.raises(ValueError, match="X has 2 features, but GUDGenerator is expecting 3"):
        getattr(copy.deepcopy(fitted), method)(continuous()[:, :2])


@pytest.mark.parametrize("name", sorted(GUDGenerator().get_params(deep=False)))
def test_every_parameter_is_checked(name):
    with pytest.raises((TypeError, ValueError), match=name):
        small(**{name: object()}).fit(continuous())


def test_a_warm_start_on_another_number_of_columns_is_refused():
    gen = small(max_iter=0, warm_start=True).fit(continuous())
    with pytest.raises(ValueError, match="X has 2 features, but GUDGenerator is expecting 3"):
        gen.fit(continuous()[:, :2])


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("text", ["u", "v"] * 20),
        ("kind", pd.Categorical(["u", "v"] * 20)),
        ("when", pd.date_range("2020", periods=40)),
        ("span", pd.to_timedelta(np.arange(40), unit="D")),
        ("digits", ["1", "2"] * 20),
    ],
)
def test_columns_other_than_numbers_come_back_in_their_dtypes(name, column):
    X = pd.DataFrame({"a": continuous()[:, 0], name: column})
    gen = small(max_iter=0).fit(X)
    rows = gen.sample(20)
    assert rows.dtypes.tolist() == X.dtypes.tolist()
    assert set(rows[name]) <= set(X[name])
    assert np.isfinite(gen.score_samples(X)).all()


def test_repeated_column_names_are_refused():
    X = pd.DataFrame(continuous(), columns=["a", "b", "a"])
    with pytest.raises(ValueError, match=r"columns of the same name: \['a'\]"):
        small().fit(X)


def test_columns_are_taken_by_name_in_any_order():
    X = pd.DataFrame(continuous(), columns=["a", "b", "c"])
    gen = small(max_iter=0).fit(X)
    np.testing.assert_array_equal(gen.score_samples(X[["b", "c", "a"]]), gen.score_samples(X))
    for wrong in (X[["a", "b"]], X.rename(columns={"a": "d"})):
        with pytest.raises(ValueError, match="feature names should match"):
            gen.score(wrong)


# Parameters


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"schedule": "sof"}, ValueError, "schedule='sof' .* Did you mean 'soft'"),
        ({"basis": "furier"}, ValueError, "basis='furier' .* Did you mean 'fourier'"),
        ({"sampler": "huen"}, ValueError, "sampler='huen' .* Did you mean 'heun'"),
        ({"network": "mpl"}, ValueError, "network='mpl' .* Did you mean 'mlp'"),
        ({"schedule": LinearSchedule}, TypeError, "schedule=.* must be a name, or an instance"),
        ({"basis": PCABasis}, TypeError, "basis=.* must be a name, or an instance"),
        ({"sampler": DPMSolver}, TypeError, "sampler=.* must be a name, or an instance"),
        ({"network": MLP}, TypeError, "network=.* must be a name, or a callable, or an instance"),
        ({"schedule": DPMSolver()}, TypeError, "schedule=DPMSolver.*such as LinearSchedule"),
        ({"basis": StandardScaler()}, TypeError, "basis=StandardScaler.*such as IdentityBasis"),
        ({"schedule": SoftConditioningSchedule(0)}, ValueError, "softness=0 must be above 0"),
        ({"schedule": SoftConditioningSchedule(-1)}, ValueError, "softness=-1 must be above 0"),
        ({"schedule": SoftConditioningSchedule("x")}, TypeError, "softness='x' must be a number"),
        ({"schedule": SequentialSchedule(0.5)}, ValueError, "window=0.5 must be at least 1"),
        ({"schedule": SoftConditioningSchedule(order=["x0"])}, ValueError, "covers 'x1'"),
        ({"basis": FourierBasis(shape=(8, 8))}, ValueError, "64 entries but X has 3 features"),
        ({"sampler": DPMSolver(steps=0)}, ValueError, "steps=0 must be at least 1"),
        ({"network": MLP(width=0)}, ValueError, "'width' parameter of MLP"),
        ({"network": no_module}, TypeError, "must build a torch.nn.Module"),
        ({"device": "nonsense"}, ValueError, "device='nonsense' is not a device that torch"),
        ({"device": "meta"}, ValueError, "device='meta' holds no numbers"),
        ({"max_iter": -1}, ValueError, "'max_iter' parameter of GUDGenerator"),
        ({"max_iter": 2.5}, ValueError, "'max_iter' parameter of GUDGenerator"),
        ({"max_time": 0}, ValueError, "'max_time' parameter"),
        ({"batch_size": 0}, ValueError, "'batch_size' parameter"),
        ({"learning_rate_init": 0.0}, ValueError, "'learning_rate_init' parameter"),
        ({"optimizer": "sgd"}, ValueError, "'optimizer' parameter"),
        ({"validation_fraction": 1.0}, ValueError, "'validation_fraction' parameter"),
        ({"n_iter_no_change": 0}, ValueError, "'n_iter_no_change' parameter"),
        ({"tol": -1.0}, ValueError, "'tol' parameter"),
        ({"likelihood": "exact"}, ValueError, "'likelihood' parameter"),
        ({"preconditioning": "none"}, ValueError, "'preconditioning' parameter"),
        ({"loss_weighting": "snr"}, ValueError, "'loss_weighting' parameter"),
        ({"precision": "float16"}, ValueError, "'precision' parameter"),
        ({"early_stopping": "no"}, ValueError, "'early_stopping' parameter"),
        ({"random_state": "a"}, ValueError, "'random_state' parameter"),
        ({"verbose": -1}, ValueError, "'verbose' parameter"),
        ({"bin_width": "atuo"}, ValueError, "bin_width='atuo' must be 'auto', None, a positive"),
        ({"bin_width": 1.0, "bin_range": ["a", "b"]}, TypeError, "bin_range=.* must hold numbers"),
        ({"bin_range": "x"}, ValueError, "'bin_range' parameter"),
    ],
    # The name of a function, not its address: two processes must agree on what a test is called.
    ids=lambda value: repr(value).partition(" at 0x")[0],
)
def test_bad_parameters_are_refused_and_the_earlier_fit_survives(
    parameters, error, message, fitted
):
    gen, X = copy.deepcopy(fitted), continuous()
    old = gen.get_params(deep=False)
    with pytest.raises(error, match=message):
        gen.set_params(**parameters).fit(X)
    gen.set_params(**old)
    assert vars(gen).keys() == vars(fitted).keys()
    np.testing.assert_array_equal(gen.score_samples(X[:5]), fitted.score_samples(X[:5]))


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"bin_width": 1.0}, ValueError, "Column 'x1' holds 2.5 in row 3.*bin_width=1"),
        ({"bin_width": [None, 1.0, None]}, ValueError, "Column 'x1' holds 2.5 in row 3"),
        ({"bin_width": 0}, ValueError, "bin_width=0 must be positive"),
        ({"bin_width": -1.0}, ValueError, "bin_width=-1.0 must be positive"),
        ({"bin_width": np.inf}, ValueError, "bin_width=inf must be positive and finite"),
        ({"bin_width": [1.0, 1.0]}, ValueError, "bin_width has 2 entries but X has 3 features"),
        ({"bin_width": [[1.0, 1.0, 1.0]]}, ValueError, "bin_width has 2 dimensions"),
        ({"bin_width": ["a", 1.0, 1.0]}, TypeError, "bin_width=.* one per column"),
        ({"bin_width": True}, TypeError, "bin_width=True .* a positive number"),
        (
            {"bin_width": 0.5, "bin_range": (0, 3)},
            ValueError,
            r"Column 'x0' holds 4 .* outside bin_range=\(0.0, 3.0\)",
        ),
        ({"bin_width": 0.5, "bin_range": (3, 0)}, ValueError, "must have low <= high"),
        ({"bin_width": 0.5, "bin_range": (0, 1, 2)}, ValueError, "bin_range has shape"),
        ({"bin_range": (0, 3)}, ValueError, "bin_range needs discrete columns"),
    ],
    ids=repr,
)
def test_bad_bins_are_refused(parameters, error, message):
    X = whole()
    X[3, 1] = 2.5
    with pytest.raises(error, match=message):
        small(**parameters).fit(X)


def test_messages_use_the_names_of_columns():
    X = pd.DataFrame(whole(), columns=["red", "green", "blue"])
    X.loc[5, "green"] = 0.25
    with pytest.raises(ValueError, match="Column 'green' holds 0.25 in row 5"):
        small(bin_width=1.0).fit(X)


@pytest.mark.parametrize("method", [*METHODS, "partial_fit"])
def test_scored_rows_must_lie_on_the_grid_and_in_its_range(method):
    gen = small(max_iter=0, bin_width=1.0, bin_range=(0, 4)).fit(whole())
    X = whole()
    X[2, 1] = 0.5
    with pytest.raises(ValueError, match="Column 'x1' holds 0.5 in row 2"):
        getattr(gen, method)(X)
    X[2, 1] = 9
    with pytest.raises(ValueError, match=r"Column 'x1' holds 9 in row 2.*bin_range=\(0.0, 4.0\)"):
        getattr(gen, method)(X)


def test_messages_count_rows_across_batches(monkeypatch):
    X = whole(400)
    gen = small(max_iter=0, bin_width=1.0).fit(X)
    monkeypatch.setattr("gudlearn.data.bins.row_batches", lambda X: gen_batches(len(X), 50))
    X[333, 1] = 0.5
    for method in ("fit", "score_samples"):
        with pytest.raises(ValueError, match="Column 'x1' holds 0.5 in row 333"):
            getattr(gen, method)(X)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"basis__shape": (8, 8)}, "basis__shape.*IdentityBasis"),
        ({"schedule": "linear", "schedule__softness": 0.3}, "schedule__softness.*LinearSchedule"),
        ({"schedule__softnes": 0.3}, "Did you mean 'softness'"),
    ],
    ids=repr,
)
def test_bad_nested_parameters_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        GUDGenerator().set_params(**parameters)


# Labels


def missing_labels():
    """Labels of 40 rows, the first missing one in row 3, in each container and dtype."""
    text, numbers = np.array(["a", "b"] * 20, dtype=object), np.arange(40.0) % 2
    found = {}
    for name, value in {"nan": np.nan, "None": None, "NA": pd.NA}.items():
        for kind, y in {"text": text, "number": numbers.astype(object)}.items():
            y = y.copy()
            y[[3, 7]] = value
            found[f"{kind} {name}"] = y
    numbers[[3, 7]] = np.nan
    texts = found["text None"].tolist()
    return found | {
        "float": numbers,
        "list": texts,
        "Int64": pd.Series(numbers).astype("Int64"),
        "string": pd.Series(texts, dtype="string"),
        "category": pd.Series(texts, dtype="category"),
        "polars": pl.Series(texts),
    }


@pytest.mark.parametrize("y", missing_labels().values(), ids=missing_labels())
@pytest.mark.parametrize("method", ["fit", "partial_fit", "GUDClassifier"])
def test_the_row_of_a_missing_label_is_named(y, method):
    model = GUDClassifier(small()) if method == "GUDClassifier" else small(class_conditional=True)
    fit = getattr(model, method, model.fit)
    with pytest.raises(ValueError, match="y holds no label for 2 rows, the first of them row 3"):
        fit(continuous(), y)


@pytest.mark.parametrize("value", [np.nan, None, pd.NA], ids=repr)
def test_a_missing_label_is_refused_after_the_fit(value):
    X, y = continuous(), np.array(["a", "b"] * 20, dtype=object)
    gen = small(class_conditional=True, max_iter=0).fit(X, y)
    y[5] = value
    for method in (gen.score_samples, gen.score_columns, gen.partial_fit):
        with pytest.raises(ValueError, match="no label for 1 rows, the first of them row 5"):
            method(X, y)
    with pytest.raises(ValueError, match="no label for 1 rows, the first of them row 5"):
        gen.sample(40, y)


# Methods


@pytest.mark.parametrize("n_samples", [0, -1, 2.0, "3", True, None])
def test_bad_numbers_of_samples_are_refused(n_samples, fitted):
    with pytest.raises(ValueError, match=f"n_samples={n_samples!r} must be a whole number"):
        fitted.sample(n_samples)


def test_a_bad_random_state_is_refused(fitted):
    with pytest.raises(ValueError, match="cannot be used to seed"):
        fitted.sample(2, random_state="a")


ARGUMENTS = {
    "sample": (2,),
    "log_snr": ([0.5],),
    "extend": (continuous(), 0),
    "iter_extend": (continuous(),),
    "conditional_mean": (continuous(),),
    "conditional_quantile": (continuous(), 2.0),
    "conditioning_method": ([0],),
    "sample_trajectory": (2,),
    "score_columns": (continuous(),),
}


@pytest.mark.parametrize("method", [*METHODS, *ARGUMENTS])
def test_every_method_needs_a_fit(method):
    with pytest.raises(NotFittedError, match="not fitted yet"):
        getattr(small(), method)(*ARGUMENTS.get(method, (continuous(),)))


def test_a_pipeline_refuses_a_step_without_determinant():
    X = continuous()
    with pytest.raises(TypeError, match="[Nn]ormalizer"):
        GenerativePipeline([("norm", Normalizer()), ("gud", small())]).fit(X)


def test_a_pipeline_refuses_bins_of_its_last_step():
    model = GenerativePipeline([("scale", StandardScaler()), ("gud", small(bin_width=1.0))])
    with pytest.raises(ValueError, match="Give bin_width to the GenerativePipeline"):
        model.fit(whole())


def test_a_plain_pipeline_does_not_sample():
    model = make_pipeline(PCABasis(), small(max_iter=0)).fit(continuous())
    assert not hasattr(model, "sample")


# Failed fits


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("warm_start", [False, True])
def test_a_failed_refit_leaves_the_earlier_fit(method, warm_start):
    X = pd.DataFrame(whole(), columns=["a", "b", "c"])
    gen = small(bin_width=1.0, warm_start=warm_start).fit(X)
    rows, samples, state = gen.score_samples(X), gen.sample(5), dict(vars(gen))
    bad = {
        "mixes types": X.assign(a=["text", *X["a"][1:]]),
        "whole multiple": X.assign(a=np.append(X["a"][1:], 0.5)),
        "0 sample": X[:0],
        "infinity": X.replace(1, np.inf),
    }
    if method == "fit":
        bad["nothing but NaN"] = X.assign(a=np.nan)
    for message, bad_rows in bad.items():
        with pytest.raises(ValueError, match=message):
            getattr(gen, method)(bad_rows)
    assert vars(gen).keys() == state.keys()
    assert all(vars(gen)[name] is value for name, value in state.items())
    np.testing.assert_array_equal(gen.score_samples(X), rows)
    pd.testing.assert_frame_equal(gen.sample(5), samples)


def test_a_failed_first_fit_leaves_nothing():
    gen = small()
    with pytest.raises(ValueError, match="infinity"):
        gen.fit(with_value(np.inf))
    with pytest.raises(NotFittedError):
        gen.sample()


def test_a_diverging_loss_is_reported_and_the_last_weights_are_kept():
    X = continuous()
    X[0, 1] = 50
    # Without validation the extreme row is trained on.
    settings = {"precision": "float32", "validation_fraction": 0}
    gen = small(max_iter=5, learning_rate_init=1e30, **settings)
    with pytest.raises(FloatingPointError, match="loss is not finite.*x1.*last good weights"):
        gen.fit(X)
    # The first step spoils the weights: those that are left are the initial ones.
    initial = small(max_iter=0, **settings).fit(X).weights_
    for name, weight in gen.weights_.items():
        np.testing.assert_array_equal(weight, initial[name])
    assert np.isfinite(gen.score_samples(X)).all()
    assert np.isfinite(gen.sample(3)).all()


def test_extreme_finite_values_can_be_fitted():
    X = continuous()
    X[0, 1] = 1e6
    gen = small().fit(X)
    assert np.isfinite(gen.score_samples(X)).all()
    assert np.isfinite(gen.sample(5)).all()
