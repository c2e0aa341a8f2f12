"""Conditionals of tables: given values as users write them, ranges and sets, frames of results."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

from gudlearn import DPMSolver, PCABasis
from small import continuous, few_draws, random_images, small, tiny

N = 240


def table(n=N, seed=0):
    """A frame of categories, whole numbers, floats with zeros, times and booleans."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "sex": rng.choice(["F", "M"], n),
            "city": rng.choice(["x", "y", "z"], n, p=[0.6, 0.3, 0.1]),
            "age": rng.integers(18, 90, n),
            "height": rng.normal(1.7, 0.1, n),
            "balance": np.where(rng.random(n) < 0.3, 0.0, rng.normal(100, 20, n)),
            "when": pd.date_range("2020-01-01", periods=n),
            "grade": pd.Categorical(rng.choice(list("abcd"), n), list("abcd"), ordered=True),
            "ok": rng.random(n) < 0.4,
        }
    )


@pytest.fixture(scope="module")
def fitted():
    return small(conditional_rate=0.4).fit(table())


# Given values

GIVEN = {
    "dict": {"sex": "F", "age": 30},
    "dict of lists": {"age": [30, 31, 32], "city": "z", "ok": [True, None, False]},
    "text of a time": {"when": ["2020-03-04", None]},
    "series": table().loc[7, ["age", "when", "grade"]],
    "frame": table()[["when", "balance", "grade"]].iloc[5:8],
    "off the range": {"age": 130, "height": 2.9},
}


@pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN)
@pytest.mark.parametrize("n_samples", [1, 3])
def test_given_values_come_back_exactly_in_a_frame(given, n_samples, fitted):
    drawn = fitted.sample(n_samples, given=given)
    assert drawn.dtypes.equals(table().dtypes) and not drawn.isna().any(axis=None)
    if isinstance(given, dict):
        given = pd.DataFrame(
            {k: v if isinstance(v, list) else [v] for k, v in given.items()}
            if not any(isinstance(v, list) for v in given.values())
            else given
        )
    rows = given.to_frame().T if isinstance(given, pd.Series) else given
    if n_samples > 1:
        assert drawn.index.names == ["draw", "row"]
        assert drawn.index.tolist() == [(k, row) for k in range(n_samples) for row in rows.index]
    else:
        assert drawn.index.equals(rows.index)
    for name in rows:
        expected = np.tile(rows[name].to_numpy(dtype=object), n_samples)
        known = ~pd.isna(expected)
        found = drawn[name].to_numpy(dtype=object)[known]
        if name == "when":
            assert (pd.to_datetime(expected[known]) == pd.to_datetime(found)).all()
        else:
            assert (found == expected[known]).all()


def test_several_draws_of_polars_are_one_frame_draw_after_draw():
    frame = pl.DataFrame({name: table(100)[name].to_list() for name in ("sex", "age", "height")})
    gen = small(conditional_rate=0.4).fit(frame)
    drawn = gen.sample(2, given=frame[:3].select("age"))
    assert isinstance(drawn, pl.DataFrame) and drawn.schema == frame.schema
    assert drawn["age"].to_list() == 2 * frame["age"][:3].to_list()


def test_columns_of_an_array_are_given_by_index():
    X = continuous()
    gen = small(conditional_rate=0.4).fit(X)
    drawn = gen.sample(2, given={1: [0.25, 0.5]})
    assert drawn.shape == (2, 2, 3) and (drawn[:, :, 1] == [0.25, 0.5]).all()
    partial = np.full((2, 3), np.nan)
    partial[:, 1] = [0.25, 0.5]
    np.testing.assert_array_equal(drawn, gen.sample(2, given=partial))


BAD_GIVEN = {
    "unknown": ({"agee": 3}, ValueError, "'agee', which X does not have. Did you mean 'age'?"),
    "unknown of a frame": (table()[["sex"]].rename(columns={"sex": "Sex"}), ValueError, "'sex'?"),
    "unseen": ({"city": "w"}, ValueError, "'city' holds 'w' in row 0.*one of its levels"),
    "nothing": ({}, ValueError, "given names no column"),
    "lengths": ({"age": [1, 2], "ok": [True]}, ValueError, r"lengths \[1, 2\]"),
    "infinite": ({"height": np.inf}, ValueError, "infinity"),
}


@pytest.mark.parametrize(("given", "error", "message"), BAD_GIVEN.values(), ids=BAD_GIVEN)
def test_bad_given_values_are_refused(given, error, message, fitted):
    with pytest.raises(error, match=message):
        fitted.sample(given=given)


def test_dicts_and_conditions_are_for_tables():
    gen = tiny(max_iter=0).fit(random_images())
    with pytest.raises(TypeError, match="given is a dict, but X holds images"):
        gen.sample(given={"x0": 1})
    with pytest.raises(ValueError, match="where= names columns of a table"):
        gen.sample(where={"x0": (0, 1)})
    with pytest.raises(ValueError, match="conditional_proba is of a column of a table"):
        gen.conditional_proba(random_images()[:1].astype(float), "x0")


# Conditions

WHERE = {
    "range": ({"age": (30, 40)}, lambda s: s["age"].between(30, 40)),
    "open": ({"height": (None, 1.8)}, lambda s: s["height"] <= 1.8),
    "levels": ({"city": ["z", "y"]}, lambda s: s["city"].isin(["y", "z"])),
    "two sets": (
        {"city": ["z", "y"], "grade": ["a", "c"], "balance": (90, None)},
        lambda s: s["city"].isin(["y", "z"]) & s["grade"].isin(["a", "c"]) & (s["balance"] >= 90),
    ),
    "one level": ({"sex": ["F"], "ok": True}, lambda s: (s["sex"] == "F") & s["ok"]),
    "times": (
        {"when": ("2020-02-01", pd.Timestamp("2020-05-01"))},
        lambda s: s["when"].between("2020-02-01", "2020-05-01"),
    ),
    "levels in order": ({"grade": ("b", "c")}, lambda s: s["grade"].isin(["b", "c"])),
    "point mass": ({"balance": [0]}, lambda s: s["balance"] == 0),
    "beside the point mass": ({"balance": (1, 120)}, lambda s: s["balance"].between(1, 120)),
    "values": ({"age": [30, 31, 50]}, lambda s: s["age"].isin([30, 31, 50])),
    "one value": ({"height": 1.75}, lambda s: s["height"] == 1.75),
}


@pytest.mark.parametrize(("where", "holds"), WHERE.values(), ids=WHERE)
def test_all_rows_satisfy_the_conditions(where, holds, fitted):
    drawn = fitted.sample(30, where=where, random_state=1)
    assert len(drawn) == 30 and holds(drawn).all() and drawn.dtypes.equals(table().dtypes)
    pd.testing.assert_frame_equal(fitted.sample(12, where=where, random_state=1), drawn[:12])
    given = {"sex": ["M", "F"]} if "sex" not in where else {"city": ["x", "y"]}
    several = fitted.sample(4, given=given, where=where, random_state=1)
    assert holds(several).all() and len(several) == 8
    ((name, values),) = given.items()
    assert several[name].tolist() == 4 * values


def dependent_categories(n=3000, seed=0):
    """Two categories and a number that depend on each other, with known probabilities."""
    rng = np.random.default_rng(seed)
    a = rng.choice(3, n, p=[0.2, 0.3, 0.5])
    b = np.where(rng.random(n) < 0.7, a, rng.choice(3, n))
    return pd.DataFrame({"a": np.array(list("uvw"))[a], "b": np.array(list("xyz"))[b]})


def test_rows_are_drawn_from_the_model_given_the_conditions():
    frame = dependent_categories()
    # Both columns are revealed in one step, as if they were independent, in 1 of so many samples.
    steps = DPMSolver(steps=40)
    gen = small(max_iter=20, conditional_rate=0.4, sampler=steps).fit(frame)
    where = {"a": ["u", "v"], "b": ["x", "z"]}
    found = gen.sample(3000, where=where, random_state=1)
    every = gen.sample(20_000, random_state=2)
    kept = every[every["a"].isin(where["a"]) & every["b"].isin(where["b"])]
    for name in ("a", "b"):
        p, q = (x[name].value_counts(normalize=True) for x in (found, kept))
        # Revealing step by step and at once agree up to the network's error: .03.
        for level in where[name]:
            error = np.sqrt(q[level] * (1 - q[level]) * (1 / len(found) + 1 / len(kept)))
            assert abs(p[level] - q[level]) < 5 * error + 0.03


def test_rejection_alone_is_exact():
    X = continuous(400)
    gen = small(max_iter=0, conditional_rate=0).fit(X)
    every = gen.sample(400, random_state=3)
    expected = every[(every[:, 0] > 0) & (every[:, 0] <= 1)]
    found = gen.sample(len(expected), where={0: (0, 1)}, random_state=3)
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_conditions_are_for_any_basis():
    gen = small(basis=PCABasis(), max_iter=0).fit(continuous(100))
    assert (gen.sample(20, where={"x1": (0, None)})[:, 1] >= 0).all()


BAD_WHERE = {
    "reversed": ({"age": (40, 30)}, ValueError, "ends before it begins"),
    "outside": ({"age": (200, 300)}, ValueError, "no value of the column, which goes from 18"),
    "between": ({"age": (30.2, 30.8)}, ValueError, "no value of the column"),
    "unseen": ({"city": ["q"]}, ValueError, "asks for 'q' in column 'city'.*levels are 'x', 'y'"),
    "unknown": ({"agee": (1, 2)}, ValueError, "'agee'.*Did you mean 'age'"),
    "no order": ({"city": ("x", "y")}, ValueError, "have no order. Pass a list"),
    "continuous": ({"height": [1.7, 1.8]}, ValueError, "each has probability zero"),
    "empty": ({"age": []}, ValueError, "holds no value"),
    "no ends": ({"age": (None, None)}, ValueError, "must be a pair"),
    "three": ({"age": (1, 2, 3)}, ValueError, "must be a pair"),
    "off the grid": ({"age": [30.5]}, ValueError, "lies on a grid"),
    "missing": ({"sex": [None]}, ValueError, "asks for missing values"),
    "nan": ({"age": (np.nan, 3)}, ValueError, "holds NaN"),
    "text": ({"age": ("a", 3)}, TypeError, "holds 'a' for column 'age', which holds numbers"),
    "no time": ({"when": ("soon", None)}, TypeError, "'soon' for column 'when'.*datetimes"),
    "no dict": ([("age", 3)], TypeError, "must be a dict"),
}


@pytest.mark.parametrize(("where", "error", "message"), BAD_WHERE.values(), ids=BAD_WHERE)
def test_bad_conditions_are_refused(where, error, message, fitted):
    with pytest.raises(error, match=message):
        fitted.sample(where=where)


def test_given_values_and_conditions_may_not_contradict(fitted):
    with pytest.raises(ValueError, match="Row 1 of given.*'sex' that where= excludes"):
        fitted.sample(given={"sex": ["F", "M"]}, where={"sex": ["F"]})


def test_conditions_that_are_never_met_are_an_error(monkeypatch):
    monkeypatch.setattr("gudlearn.model.rejection._MOST_PER_ROW", 20)
    X = continuous(200)
    X[:, 1] = X[:, 0]
    gen = small(max_iter=0).fit(X)
    with pytest.raises(ValueError, match="Only 0 of .* candidates satisfy where="):
        gen.sample(where={0: (1.5, None), 1: (None, -1.0)})


def test_rare_conditions_warn(fitted):
    with pytest.warns(UserWarning, match="times as long as without"):
        fitted.sample(3, where={"age": (30, 30.5), "when": ("2020-03-01", "2020-03-20")})


# Labels


def test_classes_are_returned_with_their_rows():
    X = continuous(120)
    y = np.where(X[:, 0] > 0, "high", "low")
    gen = small(class_conditional=True, conditional_rate=0.4).fit(X, y)
    rows, labels = gen.sample(30, return_y=True, random_state=1)
    np.testing.assert_array_equal(rows, gen.sample(30, random_state=1))
    np.testing.assert_array_equal(rows, gen.sample(30, y=labels, random_state=1))
    assert set(labels) == {"high", "low"}
    rows, labels = gen.sample(20, where={0: (-1, 1)}, return_y=True, random_state=1)
    assert (np.abs(rows[:, 0]) <= 1).all() and labels.shape == (20,)
    rows, labels = gen.sample(3, y=["low", "high"], given=X[:2], return_y=True)
    assert rows.shape == (3, 2, 3) and labels.tolist() == 3 * [["low", "high"]]
    _, labels = gen.sample(2, y=["low", "high"], where={0: (-1, 1)}, return_y=True)
    assert labels.tolist() == ["low", "high"]
    with pytest.raises(ValueError, match="return_y=True: where a part is observed"):
        gen.sample(given=X[:2], return_y=True)


def test_classes_need_a_model_of_labels(fitted):
    with pytest.raises(ValueError, match="return_y=True needs a model of labels"):
        fitted.sample(return_y=True)


# Summaries


def test_means_and_quantiles_are_frames(fitted):
    partial = table()[["sex", "city", "height", "grade", "ok"]].iloc[3:6]
    mean = fitted.conditional_mean(partial, n_samples=8)
    assert list(mean.columns) == list(table().columns) and mean.index.equals(partial.index)
    assert mean["age"].dtype == float and mean["sex"].dtype == table()["sex"].dtype
    pd.testing.assert_frame_equal(mean[partial.columns], partial)
    assert mean["balance"].between(1, 150).all() and mean["when"].dt.year.isin([2020]).all()
    quantiles = fitted.conditional_quantile(partial, [0.1, 0.9], n_samples=20)
    assert quantiles.index.names == ["quantile", "row"]
    assert quantiles.index.tolist() == [(q, row) for q in (0.1, 0.9) for row in (3, 4, 5)]
    for name in ("age", "balance", "when"):
        assert (quantiles.loc[0.1, name] <= quantiles.loc[0.9, name]).all()
    pd.testing.assert_frame_equal(quantiles.loc[0.9, list(partial)], partial, check_names=False)
    one = fitted.conditional_quantile(partial, 0.9, n_samples=20)
    pd.testing.assert_frame_equal(one, quantiles.loc[0.9], check_names=False)


def test_means_of_point_masses_are_those_of_draws(fitted):
    partial = table()[["sex"]].iloc[:2]
    draws = fitted.sample(50, given=partial, random_state=4)["balance"].unstack("row")
    mean = fitted.conditional_mean(partial, n_samples=50, random_state=4)["balance"]
    np.testing.assert_allclose(mean, draws.mean().to_numpy())


def test_categories_have_no_quantiles(fitted):
    with pytest.raises(ValueError, match="'sex' holds categories, which have no quantiles"):
        fitted.conditional_quantile(table()[["city", "grade", "ok"]].iloc[:2], 0.5)


def test_probabilities_are_those_of_the_levels():
    frame = dependent_categories()
    # The last weights: 300 held-out rows may prefer early ones of a tiny network by chance.
    gen = small(max_iter=200, conditional_rate=0.4, validation_fraction=0.0).fit(frame)
    found = gen.conditional_proba({"a": ["u", "v", "w"]}, "b")
    assert found.columns.tolist() == ["x", "y", "z"]
    np.testing.assert_allclose(found.sum(axis=1), 1)
    counts = pd.crosstab(frame["a"], frame["b"], normalize="index").to_numpy()
    # Of the 600 rows of the rarest level, five standard errors are .1; the network's error is .05.
    np.testing.assert_allclose(found, counts, atol=0.1 + 0.05)
    # The column's own values are not looked at.
    pd.testing.assert_frame_equal(
        gen.conditional_proba(frame.iloc[:5], "b"),
        gen.conditional_proba(frame[["a"]].iloc[:5], "b"),
    )


def test_probabilities_of_other_columns(fitted):
    partial = table().iloc[:4]
    assert fitted.conditional_proba(partial, "balance").columns.tolist() == [0.0, "other"]
    few = fitted.conditional_proba(partial[["city"]], "sex", n_samples=10)
    assert few.shape == (4, 2) and np.allclose(few.sum(axis=1), 1)
    with pytest.raises(ValueError, match="column='age' has no levels"):
        fitted.conditional_proba(partial, "age")
    with pytest.raises(ValueError, match="column names column 'agee'.*'age'"):
        fitted.conditional_proba(partial, "agee")


# Scores


def test_scores_are_by_the_columns_of_the_user(fitted, monkeypatch):
    few_draws(monkeypatch)
    X = table().iloc[:6]
    scores, components = fitted.score_samples(X), fitted.score_components(X)
    assert components.shape == (6, X.shape[1])
    np.testing.assert_allclose(components.sum(1), scores)
    assert fitted.score_columns(X).shape == (6, X.shape[1])
    assert np.isclose(fitted.bits_per_dim(X), -scores.sum() / (6 * X.shape[1] * np.log(2)))
    given = ["sex", "balance", "when"]
    part = fitted.score_components(X, given_columns=given)
    assert (part[:, [X.columns.get_loc(name) for name in given]] == 0).all()
    np.testing.assert_allclose(part.sum(1), fitted.score_samples(X, given_columns=given))


def test_strips_hold_numbers():
    X = np.where(np.random.default_rng(0).random((300, 8)) < 0.3, 0.0, continuous(300, 8))
    gen = small(conditional_rate=0.4, max_iter=0).fit(X)
    for call in (lambda: gen.extend(X[:1], 2), lambda: gen.iter_extend(X[:1])):
        with pytest.raises(ValueError, match="found to hold categories.*bin_width=None"):
            call()
