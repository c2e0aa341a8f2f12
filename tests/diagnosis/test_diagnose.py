"""Diagnoses of models that are right, and of rows that do not belong to them."""

import re
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.exceptions import NotFittedError

import gudlearn
from gaussian import COVARIANCE, MEAN, gaussian_rows
from gudlearn import SoftConditioningSchedule, Training
from gudlearn._random import derive_seed
from gudlearn.data.rows import Rows
from gudlearn.diagnosis.calibration import Conditionals, of_draws, parts_of
from gudlearn.diagnosis.likelihoods import flow_against_bound, like
from gudlearn.diagnosis.tables import costliest
from gudlearn.diagnosis.uniformity import Calibration
from gudlearn.model.user_data import UserData
from small import continuous, dependent, few_draws, random_images, small, tiny, with_missing

UNTRAINED = "The network is untrained"


@cache
def exact():
    """The joint Gaussian of the rows, which the untrained denoiser is."""
    return small(max_iter=0, conditional_rate=0.3, preconditioning="joint").fit(gaussian_rows(4000))


NAMES = list("abcd")


@cache
def named():
    """The same of a frame, from fewer rows."""
    gen = small(max_iter=0, conditional_rate=0.3, preconditioning="joint")
    return gen.fit(pd.DataFrame(gaussian_rows(1000), columns=NAMES))


def frame(n, seed=1, **arguments):
    return pd.DataFrame(gaussian_rows(n, seed), columns=NAMES, **arguments)


@pytest.fixture
def short(monkeypatch):
    """Few draws in scores, and no flow: it takes seconds, whatever the number of rows."""
    few_draws(monkeypatch)
    monkeypatch.setattr("gudlearn.diagnosis.run.flow_against_bound", lambda *_: "not here")


def independent(n, seed=0):
    """Independent columns of every kind, whose distribution the start with marginals is."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame({
        "normal": rng.normal(size=n),
        "whole": rng.poisson(20, n),
        "few": rng.poisson(2, n),
        "kind": rng.choice(list("abc"), n, p=[0.6, 0.3, 0.1]),
        "zeros": np.where(rng.random(n) < 0.4, 0.0, rng.exponential(size=n)),
    })  # fmt: skip


@cache
def of_kinds():
    return small(max_iter=0, conditional_rate=0.3, preconditioning="marginal").fit(
        independent(4000)
    )


# Right models


def test_the_exact_model_of_a_gaussian_is_calibrated(monkeypatch):
    # The flow of a Gaussian is smooth.
    monkeypatch.setattr("gudlearn.model.fitted._FLOW_STEPS", 10)
    gen, X = exact(), gaussian_rows(150, seed=1)
    found = gen.diagnose(X)
    assert len(found.findings) == 1 and found.findings[0].startswith(UNTRAINED)
    columns = found.columns
    assert set(columns.index) == {"x0", "x1", "x2", "x3"} and (columns["n"] == 150).all()
    assert (columns["given"] == "the others").all() and (columns["z"] < 5).all()
    for name, p in (("coverage_50", 0.5), ("coverage_90", 0.9)):
        assert (np.abs(columns[name] - p) < 5 * np.sqrt(p * (1 - p) / 150)).all()
    assert (np.abs(columns["mean_pit"] - 0.5) < 5 / np.sqrt(12 * 150)).all()
    # The bound is the density, along every path and by the flow. Moments have errors of 2 %.
    density = stats.multivariate_normal(MEAN, COVARIANCE).logpdf(X).mean()
    noise = found.bound["noise"] / np.sqrt(150)
    assert found.bound["mean"] == pytest.approx(density, abs=0.08 + 5 * noise)
    assert found.bound["mean"] == pytest.approx(gen.score(X))
    flow = found.flow
    assert flow["n_rows"] == 32 and abs(flow["difference"]) < 5 * flow["std_error"] + 0.02
    assert len(found.path_spread) == 3 and found.path_spread["spread"].max() < 0.06
    assert found.path_spread["bound"].iloc[0] == pytest.approx(found.bound["mean"])
    assert abs(found.bound["samples"] - density) < 5 * np.hypot(*(
        found.bound[f"{name}std_error"] for name in ("", "samples_")
    )) + 0.08  # fmt: skip
    assert not found.rows["unusual"].any() and found.training["verdict"] == "untrained"


def test_the_pit_of_a_number_is_its_conditional_distribution_function():
    gen, X = exact(), gaussian_rows(200, seed=2)
    state, rows = gen.state_, UserData(gen, gen.state_).rows(X)
    judge = Conditionals(state, gen.fitted_model(), rows, np.random.default_rng(0))
    precision = np.linalg.inv(COVARIANCE)
    for part in parts_of(state, np.arange(4)):
        j, found = part.field, judge.of(part)
        residual = (X - MEAN) @ precision[j] / np.sqrt(precision[j, j])
        np.testing.assert_allclose(found.pit, stats.norm.cdf(residual), atol=0.06)
        np.testing.assert_array_equal(found.rows, np.arange(200))


def test_columns_of_every_kind_are_calibrated(short):
    gen, X = of_kinds(), independent(100, seed=1)
    for conditional in (True, False):
        if not conditional:
            gen = small(max_iter=0, conditional_rate=0.0).fit(independent(500, seed=3))
        columns = gen.diagnose(X).columns
        assert set(columns.index) == {
            "normal", "whole", "few", "kind", "zeros (which value)", "zeros (number)"
        }  # fmt: skip
        assert (columns["given"] == ("the others" if conditional else "nothing")).all()
        assert (columns["z"] < 5).all(), columns
        assert columns.loc["zeros (number)", "n"] == (X["zeros"] != 0).sum()


def test_values_of_few_bins_have_the_noise_of_their_bins(short):
    X = np.random.default_rng(0).binomial(1, 0.5, (2200, 2)).astype(float)
    gen = small(max_iter=0, conditional_rate=0.3, bin_width=1.0).fit(X[:2000])
    found = gen.diagnose(X[2000:])
    assert (found.columns["z"] < 5).all() and found.columns["n"].tolist() == [200, 200]
    assert all(len(np.unique(pit)) == 200 for pit in found.pit.values())


def test_missing_values_are_left_out(short):
    X = with_missing(gaussian_rows(80, seed=1))
    found = exact().diagnose(X)
    observed = pd.Series((~np.isnan(X)).sum(0), [f"x{j}" for j in range(4)])
    assert found.columns["n"].to_dict() == observed.to_dict()
    assert (found.columns["z"] < 5).all() and not found.rows["unusual"].any()


def test_draws_have_what_does_not_exist_and_what_is_missing_as_test_rows_do():
    gen, X = of_kinds(), independent(20)
    X.loc[3, "kind"] = None
    X.loc[4, "zeros"] = np.nan
    rows = UserData(gen, gen.state_).rows(X)
    drawn = np.tile(UserData(gen, gen.state_).rows(independent(20, seed=1)).values, (2, 1))
    zero, (gate, number) = np.isnan(drawn[:, -1]), (-2, -1)
    assert zero.any()
    drawn = np.nan_to_num(drawn, nan=7.0)
    found = like(rows, drawn, gen.state_.encoding, None).values
    hidden = np.zeros(found.shape, bool)
    hidden[[3, 23], gen.state_.container.names.index("kind")] = True
    hidden[np.ix_([4, 24], [gate, number])] = True
    hidden[zero, number] = True
    np.testing.assert_array_equal(np.isnan(found), hidden)


def test_probabilities_of_point_masses_do_not_see_their_number():
    X = independent(200)
    gen = small(conditional_rate=0.3, max_iter=4).fit(X)
    rows = UserData(gen, gen.state_).rows(X)
    judge = Conditionals(gen.state_, gen.fitted_model(), rows, np.random.default_rng(0))
    (part,) = [p for p in parts_of(gen.state_, np.arange(5)) if "which" in p.label]
    expected = gen.conditional_proba(X, "zeros")
    levels = judge.of(part).levels
    assert list(levels) == ["0.0", "another value"]
    found = [mean for _, mean, _ in levels.values()]
    np.testing.assert_allclose(found, expected.mean(), rtol=1e-3)


def test_ranks_among_draws_are_uniform_whatever_is_tied():
    X = np.random.default_rng(0).binomial(1, 0.5, (1200, 1)).astype(float)
    gen = small(max_iter=0, bin_width=1.0).fit(X)
    (part,), rng = parts_of(gen.state_, [0]), np.random.default_rng(1)
    found = of_draws(gen.state_, part, Rows.of(X[:400]), Rows.of(X[400:]), rng)
    assert found.n_effective == pytest.approx(400 * 800 / 1200)
    assert found.statistics()["z"] < 5 and found.pit.min() > 0 and found.pit.max() < 1


def test_the_costliest_column_is_the_one_above_its_median():
    rows = np.arange(4)
    always = Calibration(np.zeros(4), rows, 4, np.array([50.0, 50.0, 50.0, 58.0]))
    rarely = Calibration(np.zeros(2), rows[1:3], 2, np.array([1.0, 9.0]))
    assert costliest({"a": always, "b": rarely}, 4) == ["a", "a", "b", "a"]
    assert costliest({"b": rarely}, 4) == [None, "b", "b", None]


# Rows that do not belong to the model


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda x: 100 + 3 * (x - 100), "predictions are too narrow"),
        (lambda x: x + 2, "values are larger than predicted"),
        (lambda x: x - 2, "values are smaller than predicted"),
    ],
    ids=["wider", "above", "below"],
)
def test_a_column_of_another_distribution_is_named(short, change, sentence):
    X = frame(100)
    X["d"] = change(X["d"])
    found = named().diagnose(X)
    assert found.columns.index[0] == "d" and found.columns["z"].iloc[0] > 5
    assert any(f"Column 'd' given the others: {sentence}" in text for text in found.findings)


def test_predictions_that_are_too_wide_are_said(short):
    found = named().diagnose(MEAN + 0.3 * (frame(60) - MEAN))
    assert (found.columns["z"] > 3).all() and (found.columns["coverage_50"] > 0.7).all()
    assert any("given the others: predictions are too wide" in text for text in found.findings)
    assert any("nats more likely than the rows that the model" in text for text in found.findings)


def test_a_dependence_that_is_broken_is_seen_in_conditionals_only(short):
    X, rest = dependent(400), dependent(160)[100:]
    gen = small(max_iter=0, conditional_rate=0.3, preconditioning="joint").fit(X)
    rest[:, 1] = rest[::-1, 1]
    found = gen.diagnose(rest).columns
    assert set(found.index[:2]) == {"x0", "x1"} and (found["z"].iloc[:2] > 5).all()
    assert (found["coverage_90"].iloc[:2] < 0.5).all() and found["z"].loc["x2"] < 5
    by_itself = gen.set_params(conditioning="posterior").diagnose(rest).columns
    assert (by_itself["z"] < 5).all() and (by_itself["given"] == "nothing").all()


def test_a_frequency_that_differs_is_named(short):
    X = independent(100, seed=1)
    X["kind"] = np.where(np.arange(100) % 2, "c", X["kind"])
    found = of_kinds().diagnose(X)
    assert found.columns.index[0] == "kind"
    (text,) = [text for text in found.findings if "'kind'" in text]
    assert re.search("'c' is [45]. % of the values.* mean probability of (9|10|11) %", text)


def test_a_planted_row_is_found_and_left_out_of_means(short):
    X = frame(60, index=np.arange(60) + 500)
    clean = named().diagnose(X)
    X.loc[537, "b"] += 40
    found = named().diagnose(X)
    assert found.rows.index[0] == 537 and found.rows["position"].iloc[0] == 37
    assert found.rows["column"].iloc[0] == "b"
    assert found.rows["unusual"].tolist() == [True] + [False] * 9
    (text,) = [text for text in found.findings if "far less likely" in text]
    assert "1 of 60 rows is far" in text and "in column 'b'" in text and "Row 537 is" in text
    assert found.bound["std_error"] < 2 * clean.bound["std_error"]
    assert any("Means leave out 1" in note for note in found.notes)
    lowest = named().score_samples(X.loc[[537]]).item()
    assert found.log_likelihood["test"].min() == pytest.approx(lowest)


def test_rows_are_compared_with_those_of_the_fit(short):
    X = gaussian_rows(300)
    gen = small(max_iter=4).fit(X)
    found = gen.diagnose(gaussian_rows(40, seed=1), X_train=X)
    held_out = gen.validation_index_
    assert found.bound["held_out"] == pytest.approx(gen.score(X[held_out]))
    assert len(found.log_likelihood["training"]) == 40 and found.bound["samples"] is None
    rest = gen.score_samples(np.delete(X, held_out, axis=0))
    assert np.isin(np.round(found.log_likelihood["training"], 6), np.round(rest, 6)).all()
    shifted = 3 + 4 * gaussian_rows(40, seed=1)
    for X_train in (X, None):
        texts = gen.diagnose(shifted, X_train=X_train).findings
        assert any("held-out rows of the fit: they come from another" in text for text in texts)
        # It explains the rest.
        assert not any("than the rows that the model draws" in text for text in texts)


def test_rows_of_the_reference_set_are_scored_without_themselves(short):
    X = continuous(60)
    # Without held-out rows the trained weights are kept: untrained ones do not look up rows.
    gen = small(retrieval=40, max_iter=1, validation_fraction=0.0).fit(X)
    found = gen.diagnose(X, X_train=X).log_likelihood
    expected = gen.score_samples_leave_one_out(X)
    np.testing.assert_allclose(found["test"], expected)
    assert np.abs(gen.score_samples(X) - expected).max() > 1e-3
    assert np.isin(found["training"].round(9), expected.round(9)).all()


def test_the_column_that_costs_most_is_known_without_conditionals(monkeypatch):
    monkeypatch.setattr("gudlearn.diagnosis.run.flow_against_bound", lambda *_: "not here")
    X = continuous(200)
    X[:, 0] *= 1e6
    X[30:35, 1] = 12.0
    found = small(max_iter=0).fit(X).diagnose(X)
    # One path can miss a row, but not five.
    odd = found.rows["column"].loc[found.rows.index.isin(range(30, 35))]
    assert len(odd) > 0 and (odd == "x1").all()


def test_curves_of_a_fit_are_judged(short):
    gen = small(conditional_rate=0.3, max_iter=1).fit(continuous(60))
    history = gen.state_.history
    scores = [-2.0, -1.2, -1.0, -1.4, -1.8, -2.2]
    rising = [-3.0, -2.6, -2.2, -1.8, -1.4, -1.0]
    for change, words in ((scores, "overfits"), (rising, "too short")):
        gen.state_ = replace(gen.state_, history=replace(
            history, n_epochs=50, losses=[1.0] * 50, validation_scores=change,
            validation_epochs=[0, 10, 20, 30, 40, 50], best_score=-1.0,
        ))  # fmt: skip
        found = gen.diagnose(continuous(20, seed=1))
        assert any(words in text for text in found.findings)
        assert found.training["validation_scores"] == change
        assert found.training["best_epoch"] == (20 if words == "overfits" else 50)


# What is left out


def notes_of(gen, X, **arguments):
    return "\n".join(gen.diagnose(X, **arguments).notes)


def test_what_does_not_apply_is_said(short):
    X = continuous(40)
    gen = small().fit(X)
    found = gen.diagnose(X)
    notes = "\n".join(found.notes)
    assert "given the others: the network never saw" in notes and "one path only" in notes
    assert "not computed: not here" in notes and found.rows["column"].notna().all()
    notes = notes_of(small(basis="pca", conditional_rate=0.3).fit(X), X)
    assert "the basis mixes them" in notes and "which one costs a row most is not known" in notes
    guided = small(conditional_rate=0.3).fit(X).set_params(conditioning="posterior")
    assert "only guided by the others" in notes_of(guided, X)
    assert "12 of 20 columns" in notes_of(small().fit(continuous(60, 20)), continuous(30, 20))
    assert "Looked at 30 of 40 rows" in notes_of(gen, X, n_rows=30)


def test_a_fit_for_targets_is_judged_by_them(short):
    X = continuous(60)
    found = small(targets=[1]).fit(X[:40]).diagnose(X[40:])
    assert found.columns.index.tolist() == ["x1"] and found.path_spread is None
    assert any("favours its targets" in note for note in found.notes)
    every = small(targets="all").fit(X[:40]).diagnose(X[40:])
    assert set(every.columns.index) == {"x0", "x1", "x2"} and every.path_spread is None


def test_the_flow_is_computed_where_it_is_defined():
    def of(gen, X):
        rows = UserData(gen, gen.state_).rows(X)
        return flow_against_bound(gen.scoring(), rows, np.zeros(len(rows)))

    wide = small().fit(continuous(60, 20))
    assert "random probes for 20 components" in of(wide, continuous(9, 20))
    assert "categories" in of(of_kinds(), independent(20))
    X = np.where(np.arange(3) == 1, np.nan, continuous(20))
    gen = small(conditional_rate=0.3).fit(continuous())
    assert "whole rows only, of which X has 0" in of(gen, X)


def test_images_have_rows_and_likelihoods_only(short):
    X = random_images(110, (4, 4, 1))
    gen = tiny().fit(X[:40])
    found = gen.diagnose(X[40:])
    assert not len(found.columns) and found.flow is None and found.path_spread is None
    assert "X holds images" in str(found) and "Looked at 64 of 70 rows" in str(found)
    assert found.rows["column"].isna().all() and len(found.log_likelihood["test"]) == 64
    assert set(gen.diagnose(X[40:], X_train=X[:40]).log_likelihood) == {
        "test", "training", "held-out"
    }  # fmt: skip


def test_schedules_of_a_family_are_paths(short):
    X = continuous(60)
    soft = SoftConditioningSchedule(softness=0.5)
    gen = small(training=Training(schedule_family={"softness": (0.1, 1.0)}), schedule=soft).fit(X)
    # A network that is off, and thus inconsistent.
    off = {name: 5 * weights for name, weights in gen.weights_.items()}
    gen.state_ = replace(gen.state_, weights=off)
    table = gen.diagnose(X).path_spread
    assert len(table) == 4 and sum("softness" in name for name in table.index) >= 2
    swept = gen.sweep(X, {"schedule__softness": [0.5, 0.1]}, n_draws="auto").results
    expected = -swept["bits_per_dim"] * 3 * np.log(2)
    np.testing.assert_allclose(table["bound"].iloc[:2], expected, rtol=1e-9)


def test_classes_are_those_of_the_rows(short):
    X = continuous(40)
    y = np.where(X[:, 0] > 0, "p", "n")
    gen = small(class_conditional=True, conditional_rate=0.3).fit(X, y)
    with_y, without = gen.diagnose(X, y), gen.diagnose(X)
    assert with_y.bound["mean"] == pytest.approx(gen.score(X, y))
    assert without.bound["mean"] == pytest.approx(gen.score(X))
    # Draws of the same model: of their classes, or of all classes together.
    seed = derive_seed(0) % 2**32
    drawn, labels = gen.sample(2 * len(X), return_y=True, random_state=seed)
    drawn, labels = drawn[:40], labels[:40]
    for found, expected in (
        (with_y, gen.score_samples(drawn, labels)), (without, gen.score_samples(drawn)),
    ):  # fmt: skip
        np.testing.assert_allclose(found.log_likelihood["samples"], expected)


# Seeds, parameters and what is shown


def test_one_seed_gives_one_diagnosis(short):
    gen, X = exact(), gaussian_rows(80, seed=1)
    state, params = gen.state_, gen.get_params()
    first, again = (gen.diagnose(X, n_rows=20, random_state=1) for _ in range(2))
    other = gen.diagnose(X, n_rows=20, random_state=2)
    assert str(first) == str(again) and first.bound == again.bound
    pd.testing.assert_frame_equal(first.columns, again.columns)
    pd.testing.assert_frame_equal(first.rows, again.rows)
    assert first.bound["mean"] != other.bound["mean"]
    assert gen.state_ is state and gen.get_params() == params
    # By the bound, whatever scores are.
    flow = small(max_iter=0, likelihood="flow").fit(X)
    X = X[10:40]
    found, flow.likelihood = flow.diagnose(X), "bound"
    np.testing.assert_array_equal(found.log_likelihood["test"], flow.score_samples(X))


def test_bad_input_is_refused(short):
    gen, X = exact(), gaussian_rows(40)
    with pytest.raises(NotFittedError):
        small().diagnose(X)
    for n_rows in (5, 0, 30.5, True, "all"):
        with pytest.raises(ValueError, match=f"n_rows={n_rows!r} must be None.*at least 20"):
            gen.diagnose(X, n_rows=n_rows)
    with pytest.raises(ValueError, match="X has 3 rows, but a diagnosis needs at least 20"):
        gen.diagnose(X[:3])
    with pytest.raises(ValueError, match="X has 3 features"):
        gen.diagnose(X[:, :3])
    fitted = small().fit(X)
    with pytest.raises(ValueError, match="X_train has 2 rows, but row .* was held out in fit"):
        fitted.diagnose(X, X_train=X[:2])


def test_a_diagnosis_shows_itself(short):
    X = gaussian_rows(30, seed=1)
    X[:, 0] += 9
    gen = small(max_iter=0, conditional_rate=0.3)
    gen.fit(pd.DataFrame(gaussian_rows(300), columns=["<b>", *"cde"]))
    found = gen.diagnose(pd.DataFrame(X, columns=["<b>", *"cde"]))
    assert isinstance(found, gudlearn.Diagnosis)
    text, html = str(found), found._repr_html_()
    assert f"{len(found.findings)} findings in 30 test rows" in text and repr(found) == text
    # It costs nothing.
    assert found.findings[-1].startswith(UNTRAINED)
    for k, finding in enumerate(found.findings, 1):
        assert f"{k}. {finding}" in text
    assert "Column '<b>'" in text and "<b>" not in html and "&lt;b&gt;" in html
    assert "Columns, the worst first" in text and "Rows, the least likely first" in text
    assert html.count("<li>") == len(found.findings)
    nothing = replace(found, findings=[], path_spread=None, flow=None)
    assert "Nothing wrong is visible in 30 test rows" in str(nothing)
    assert "<ol>" not in nothing._repr_html_()
