"""Constraints between columns: every sample satisfies them, and data that do not are refused."""

import pickle

import numpy as np
import pandas as pd
import pytest

from gudlearn import Schema
from gudlearn.data.linear import parse
from small import continuous, small

N = 300
CONSTRAINTS = [
    "casual + registered == count", "start <= end", "2*b - a >= a", "`total of both` == a + b",
    "price + tax == bill", "0 <= fee < price",
]  # fmt: skip


def table(n=N, seed=0):
    """Rents as in a table of bikes, dates, floats, cents, and a role for each department."""
    rng = np.random.default_rng(seed)
    casual, registered = rng.poisson(30, n), rng.poisson(80, n)
    start = pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 300, n), unit="D")
    department = rng.choice(list("abc"), n)
    a = rng.normal(size=n)
    b = a + rng.exponential(size=n)
    price = rng.integers(10, 40, n) / 10
    tax = rng.integers(1, 9, n) / 10
    return pd.DataFrame(
        {
            "casual": casual, "registered": registered, "count": casual + registered,
            "start": start, "end": start + pd.to_timedelta(rng.integers(0, 30, n), unit="D"),
            "a": a, "b": b, "total of both": a + b, "price": price, "tax": tax,
            "bill": np.round(price + tax, 1), "fee": price * rng.uniform(0.1, 0.9, n),
            "department": department, "role": np.where(rng.random(n) < 0.5, "boss", department),
        }
    )  # fmt: skip


def check(s, exact=True):
    """Assert that all rows satisfy all constraints."""
    X = table()
    assert (s["casual"] + s["registered"] == s["count"]).all()
    assert (s["start"] <= s["end"]).all()
    assert (2 * s["b"] - s["a"] >= s["a"]).all()
    if exact:
        assert (s["total of both"] == s["a"] + s["b"]).all()
    np.testing.assert_allclose(s["total of both"], s["a"] + s["b"], rtol=1e-9, atol=1e-9)
    tenths = [np.rint(10 * s[name]).astype(int) for name in ("price", "tax", "bill")]
    assert (tenths[0] + tenths[1] == tenths[2]).all()
    for name, whole in zip(("price", "tax", "bill"), tenths, strict=True):
        assert (s[name] == whole / 10).all()
    assert ((s["fee"] >= 0) & (s["fee"] < s["price"])).all()
    seen = set(zip(X["department"], X["role"], strict=True))
    assert set(zip(s["department"], s["role"], strict=True)) <= seen
    assert s.dtypes.equals(X.dtypes)


@pytest.fixture(scope="module")
def fitted():
    schema = Schema(constraints=CONSTRAINTS, forbid_unseen=[("department", "role")])
    return small(conditional_rate=0.4, schema=schema).fit(table())


def test_every_sample_satisfies_all_constraints(fitted):
    drawn = fitted.sample(500, random_state=1)
    check(drawn)
    pd.testing.assert_frame_equal(fitted.sample(40, random_state=1), drawn[:40])


def test_without_constraints_samples_violate_them():
    drawn = small().fit(table()).sample(500)
    assert (drawn["casual"] + drawn["registered"] != drawn["count"]).any()
    seen = set(zip(table()["department"], table()["role"], strict=True))
    assert not set(zip(drawn["department"], drawn["role"], strict=True)) <= seen


GIVEN = {
    "the sum": {"count": [100, 120]},
    "both parts": {"casual": 30, "registered": [70, 71]},
    "the sum and a part": {"count": 120, "casual": [31, 40]},
    "the other part": {"registered": [75, 90]},
    "a date": {"end": ["2020-03-04"]},
    "a float": {"total of both": [1.5, 2.5]},
    "tenths": {"price": [3.2, 3.3], "bill": 4.0},
    "a department": {"department": ["a", "b"]},
}


@pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN)
def test_completions_satisfy_all_constraints(given, fitted):
    drawn = fitted.sample(10, given=given, random_state=1)
    check(drawn, exact="total of both" not in given)
    for name, value in given.items():
        values = value if isinstance(value, list) else [value] * (len(drawn) // 10)
        expected = pd.Series(10 * values)
        if name == "end":
            expected = pd.to_datetime(expected)
        assert (drawn[name].to_numpy() == expected.to_numpy()).all()


def test_conditions_and_constraints_hold_together(fitted):
    drawn = fitted.sample(30, where={"count": (100, 110), "department": ["a", "b"]})
    check(drawn)
    assert drawn["count"].between(100, 110).all() and drawn["department"].isin(["a", "b"]).all()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"casual": 1, "registered": 2, "count": 4}, "Row 0 of given violates 'casual"),
        ({"start": "2020-03-04", "end": "2020-03-01"}, "violates 'start <= end'"),
        ({"department": "a", "role": "b"}, r"violates forbid_unseen=\('department', 'role'\)"),
    ],
)
def test_given_rows_may_not_violate(given, message, fitted):
    with pytest.raises(ValueError, match=message):
        fitted.sample(given=given)


def test_violated_training_rows_are_counted_and_named():
    X = table()
    X.loc[[3, 7], "count"] += 1
    schema = Schema(constraints=CONSTRAINTS)
    with pytest.raises(ValueError, match="2 of 300 rows violate 'casual.*': rows 3, 7. Correct"):
        small(schema=schema).fit(X)
    gen = small(schema=schema, warm_start=True, max_iter=0).fit(table())
    with pytest.raises(ValueError, match="2 of 300 rows violate"):
        gen.fit(X)


def test_missing_values_violate_nothing():
    X = table()[["casual", "registered", "count"]].astype("Int64")
    X.loc[[3, 7], "count"] = pd.NA
    gen = small(schema=Schema(constraints=CONSTRAINTS[:1]), conditional_rate=0.4).fit(X)
    drawn = gen.sample(100)
    assert (drawn["casual"] + drawn["registered"] == drawn["count"]).all()
    gen.set_params(schema=Schema(constraints=CONSTRAINTS[:1], missing="model")).fit(X)
    drawn = gen.sample(100).dropna()
    assert (drawn["casual"] + drawn["registered"] == drawn["count"]).all()


def test_several_equalities_are_solved_in_turn():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.integers(0, 9, (200, 3)), columns=list("abc"))
    X["d"] = X["a"] + X["b"]
    X["e"] = X["d"] + 2 * X["c"]
    gen = small(schema=Schema(constraints=["a + b == d", "e == d + 2*c"])).fit(X)
    drawn = gen.sample(200)
    assert (drawn["a"] + drawn["b"] == drawn["d"]).all()
    assert (drawn["d"] + 2 * drawn["c"] == drawn["e"]).all()


def test_shorter_floats_satisfy_inequalities():
    X = np.sort(continuous(200, 2), axis=1).astype(np.float32)
    gen = small(schema=Schema(constraints=["x0 <= x1"])).fit(X)
    drawn = gen.sample(200)
    assert drawn.dtype == np.float32 and (drawn[:, 0] <= drawn[:, 1]).all()


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"constraints": ["casual + registred == count"]}, ValueError, "mean 'registered'"),
        ({"constraints": ["casual + registered"]}, ValueError, "none of =="),
        ({"constraints": ["casual registered == count"]}, ValueError, "no sign before"),
        ({"constraints": ["a * b <= 3"]}, ValueError, "not linear"),
        ({"constraints": ["a <= "]}, ValueError, "empty side"),
        ({"constraints": ["a <= b +"]}, ValueError, "ends with a sign"),
        ({"constraints": ["1 <= 2"]}, ValueError, "compares no column"),
        ({"constraints": ["a <= (b)"]}, ValueError, "cannot read"),
        ({"constraints": ["start <= count"]}, ValueError, "mixes times with other values"),
        ({"constraints": ["role <= count"]}, ValueError, "'role' is 'category'"),
        ({"constraints": "a <= b"}, TypeError, "must be a list of text"),
        ({"constraints": [3]}, TypeError, "which is no text"),
        ({"forbid_unseen": [("role", "roll")]}, ValueError, "'roll'.*mean 'role'"),
        ({"forbid_unseen": [("role", "a")]}, ValueError, "'a', which is continuous"),
        ({"forbid_unseen": [("role",)]}, ValueError, "at least two columns"),
        ({"forbid_unseen": "role"}, TypeError, "list of tuples"),
    ],
)
def test_bad_constraints_are_refused(parameters, error, message):
    with pytest.raises(error, match=message):
        small(schema=Schema(**parameters), max_iter=0).fit(table())


def test_what_constraints_exclude_is_refused(fitted):
    X = continuous(60)
    gen = small(schema=Schema(constraints=["x0 <= 100"])).fit(X)
    with pytest.raises(ValueError, match="observation= is not compatible with constraints"):
        gen.sample(observation=(np.eye(3), np.zeros(3), 0.1))
    with pytest.raises(ValueError, match="A trajectory is not compatible with constraints"):
        gen.sample_trajectory()


def test_constraints_are_shown_and_pickled(fitted):
    assert "samples satisfy start <= end" in repr(fitted.schema_)
    assert "combinations of department, role" in fitted.schema_._repr_html_()
    again = pickle.loads(pickle.dumps(fitted))
    pd.testing.assert_frame_equal(again.sample(5, random_state=1), fitted.sample(5, random_state=1))


def test_comparisons_are_read():
    first, second = parse("0 <= 2*a - `b c` < 1.5e1")
    assert first.left == ((0, None),) and first.right == ((2, "a"), (-1, "b c"))
    assert (first.comparison, second.comparison) == ("<=", "<")
    assert second.right == ((15, None),) and second.names == ["a", "b c"]
    assert second.coefficient("a") == 2 and second.coefficient("b c") == -1
