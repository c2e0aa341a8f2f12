"""Classification and regression by one model of features and target."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.stats import norm
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from gudlearn import GUDClassifier, GUDGenerator, GUDRegressor, Schema
from small import continuous, random_images, small

PLAIN = Schema(gaussianize=False)
CONTAINERS = {
    "pandas": pd.DataFrame,
    "polars": lambda frame: pl.DataFrame({c: frame[c].tolist() for c in frame}),
    "pyarrow": lambda frame: pytest.importorskip("pyarrow").table(
        {c: frame[c].tolist() for c in frame}
    ),
}
every_container = pytest.mark.parametrize("container", CONTAINERS.values(), ids=CONTAINERS)


def linear(n=400, noise=0.5, seed=0):
    """Rows of three normal numbers, and y that is linear in them with normal noise."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3))
    return X, X @ [1.0, 2.0, -1.0] + noise * rng.normal(size=n)


def untrained(**parameters):
    """A generator that is the joint Gaussian of all columns, exactly."""
    return small(max_iter=0, schema=PLAIN, **parameters)


def conditional(X, y, rows):
    """Mean and standard deviation of y given the observed values of rows, of the Gaussian."""
    joint = np.column_stack([X, y])
    mean, covariance = joint.mean(0), np.cov(joint.T, bias=True)
    out = np.empty((len(rows), 2))
    for i, row in enumerate(rows):
        seen = np.flatnonzero(~np.isnan(row))
        weights = np.linalg.solve(covariance[np.ix_(seen, seen)], covariance[seen, 3])
        variance = covariance[3, 3] - covariance[3, seen] @ weights
        out[i] = mean[3] + weights @ (row - mean[:3])[seen], np.sqrt(variance)
    return out.T


# Regression: oracles


@pytest.fixture(scope="module")
def gaussian():
    """A regressor of Gaussian rows, the rows, and mean and standard deviation of y given each."""
    X, y = linear()
    # Rows far from the mean are trusted less, and not Gaussian to the model.
    near = np.square(X).sum(1) < 6
    model = GUDRegressor(untrained()).fit(X, y)
    return model, X[near][:60], y[near][:60], conditional(X, y, X[near][:60])


def test_an_untrained_regressor_is_the_conditional_gaussian(gaussian):
    model, X, y, (mean, std) = gaussian
    for statistic in ("mean", "median", "mode"):
        np.testing.assert_allclose(model.predict(X, statistic), mean, atol=0.02)
    q = np.array([0.05, 0.3, 0.95])
    expected = norm.ppf(q, mean[:, None], std[:, None])
    np.testing.assert_allclose(model.predict_quantile(X, q), expected, atol=0.02)
    np.testing.assert_allclose(model.predict_quantile(X, 0.3), expected[:, 1], atol=0.02)
    np.testing.assert_allclose(model.log_prob(X, y), norm.logpdf(y, mean, std), atol=0.1)
    np.testing.assert_allclose(model.cdf(X, y), norm.cdf(y, mean, std), atol=0.02)
    assert model.score(X, y) > 0.9


def test_samples_of_y_have_the_conditional_distribution(gaussian):
    model, X, _, (mean, std) = gaussian
    draws = model.sample_y(X, 400, random_state=3)
    assert draws.shape == (len(X), 400)
    standard = (draws - mean[:, None]) / std[:, None]
    # Five standard errors, beside the error of the distribution itself.
    assert abs(standard.mean()) < 5 / np.sqrt(draws.size) + 0.02
    assert abs(standard.std() - 1) < 5 / np.sqrt(2 * draws.size) + 0.02
    np.testing.assert_array_equal(draws, model.sample_y(X, 400, random_state=3))


def test_missing_features_are_not_conditioned_on(gaussian):
    model, X, _, _ = gaussian
    rows = X.copy()
    rows[:20, 1], rows[20:40, [0, 2]] = np.nan, np.nan
    mean, std = conditional(*linear(), rows)
    np.testing.assert_allclose(model.predict(rows), mean, atol=0.03)
    found = np.diff(model.predict_quantile(rows, norm.cdf([-1, 1])), axis=1)[:, 0] / 2
    np.testing.assert_allclose(found, std, rtol=0.03)


def test_densities_of_y_are_normalised_after_training():
    X, y = linear(200)
    y = np.where(X[:, 0] > 0, y + 4, y)
    model = GUDRegressor(small(max_iter=20)).fit(X, y)
    for row in X[:2]:
        low, high = model.predict_quantile(row[None], [1e-6, 1 - 1e-6])[0]
        grid = np.linspace(low, high, 301)
        density = np.exp(model.log_prob(np.tile(row, (len(grid), 1)), grid))
        assert np.trapezoid(density, grid) == pytest.approx(1, abs=5e-3)
    q = np.array([0.1, 0.5, 0.9])
    y = model.predict_quantile(X[:5], q)
    for k in range(3):
        np.testing.assert_allclose(model.cdf(X[:5], y[:, k]), q[k], atol=1e-6)


def test_predictions_of_a_row_do_not_depend_on_other_rows(gaussian):
    model, X, y, _ = gaussian
    np.testing.assert_allclose(model.log_prob(X[3:5], y[3:5]), model.log_prob(X, y)[3:5], atol=1e-3)
    order = np.random.default_rng(0).permutation(len(X))
    np.testing.assert_allclose(model.predict(X[order]), model.predict(X)[order], atol=1e-4)


def test_units_of_y_change_nothing_else():
    X, y = linear(100)
    models = [GUDRegressor(untrained()).fit(X, a * y + b) for a, b in ((1, 0), (100, -7))]
    first, second = (model.predict_quantile(X[:9], [0.2, 0.7]) for model in models)
    np.testing.assert_allclose(second, 100 * first - 7, rtol=1e-3, atol=0.2)
    densities = models[0].log_prob(X, y), models[1].log_prob(X, 100 * y - 7)
    np.testing.assert_allclose(densities[0] - np.log(100), densities[1], atol=0.02)


def test_held_out_rows_choose_the_factor():
    X, y = linear(200)
    gen = small(max_iter=2)
    model = GUDRegressor(gen).fit(X, y)
    held_out = model.generator_.validation_index_
    assert len(held_out) == 20
    nll = []
    for factor in (0.8 * model.factor_, model.factor_, 1.25 * model.factor_):
        model.factor_ = factor
        nll.append(-model.log_prob(X[held_out], y[held_out]).sum() + 5.6 * np.log(factor) ** 2)
    assert nll[1] < min(nll[0], nll[2])
    # Fewer rows say too little, and untrained models hold none out.
    assert GUDRegressor(gen).fit(X[:90], y[:90]).factor_ == 1
    assert GUDRegressor(untrained()).fit(X, y).factor_ == 1


@pytest.mark.parametrize("size", [1e8, 1e30, 1e200])
def test_rows_far_away_have_finite_predictions(size):
    X, y = linear(60)
    rows = np.array([[size, 0, 0], [-size, size, 0], [np.nan, -size, size]])
    model = GUDRegressor(small()).fit(X, y)
    assert np.isfinite(model.predict_quantile(rows, [0.1, 0.9])).all()
    assert np.isfinite(model.log_prob(rows, [0.0, 1.0, 2.0])).all()
    p = GUDClassifier(small()).fit(X, y > 0).predict_proba(rows)
    np.testing.assert_allclose(p.sum(1), 1)


# Whole numbers


def test_whole_numbers_of_many_values_have_probabilities():
    X, y = linear()
    y = np.rint(10 * y)
    model = GUDRegressor(untrained()).fit(X, y)
    assert model.is_whole_
    low, high = model.predict_quantile(X[:1], [1e-6, 1 - 1e-6])[0]
    grid = np.arange(low, high + 1)
    total = np.exp(model.log_prob(np.tile(X[:1], (len(grid), 1)), grid)).sum()
    assert total == pytest.approx(1, abs=1e-5)
    assert np.isneginf(model.log_prob(X[:1], [0.5]))
    for found in (model.predict_quantile(X[:9], 0.9), model.sample_y(X[:9], 3)):
        np.testing.assert_array_equal(found, np.rint(found))
    mean, std = conditional(X, y, X[:9])
    np.testing.assert_allclose(model.predict(X[:9]), mean, atol=2)


def test_whole_numbers_of_few_values_are_levels():
    X, _ = linear(400)
    y = np.random.default_rng(0).choice([1, 2, 5], 400, p=[0.2, 0.5, 0.3])
    model = GUDRegressor(untrained()).fit(X, y)
    p = np.stack([np.exp(model.log_prob(X[:2], np.full(2, k))) for k in (1, 2, 3, 5)], 1)
    frequencies = [np.mean(y == k) for k in (1, 2, 3, 5)]
    np.testing.assert_allclose(p, [frequencies] * 2, atol=0.01)
    assert model.predict(X[:2], "mode").tolist() == [2, 2]
    np.testing.assert_allclose(model.predict(X[:2]), y.mean(), atol=0.05)
    assert set(model.sample_y(X[:2], 20).ravel()) <= {1, 2, 5}


# Classification


def crossed(n=600, seed=0):
    """Two columns of categories, and classes whose probabilities depend on both."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"a": rng.choice(["p", "q"], n), "b": rng.choice(["r", "s", "t"], n)})
    place = 3 * (frame["a"] == "q") + frame["b"].map({"r": 0, "s": 1, "t": 2})
    p = np.array([0.9, 0.1, 0.5, 0.2, 0.8, 0.4])[place]
    return frame, np.where(rng.random(n) < p, "yes", "no")


@pytest.fixture(scope="module")
def trained():
    frame, y = crossed()
    # Sixty rows would be too few to choose weights by, for one salt in a hundred.
    gen = small(max_iter=100, batch_size=64, learning_rate_init=0.02, validation_fraction=0)
    return GUDClassifier(gen, random_state=0).fit(frame, y), frame, y


def test_probabilities_of_classes_are_their_frequencies_given_the_categories(trained):
    model, frame, y = trained
    assert model.method_ == "joint" and model.classes_.tolist() == ["no", "yes"]
    cells = frame.assign(y=y == "yes").groupby(["a", "b"], as_index=False).agg(
        p=("y", "mean"), n=("y", "size")
    )  # fmt: skip
    found = model.predict_proba(cells[["a", "b"]])
    np.testing.assert_allclose(found.sum(1), 1)
    # Cells of some hundred rows have a standard error of 0.05; a short training leaves as much.
    np.testing.assert_allclose(found[:, 1], cells["p"], atol=0.35)
    assert np.abs(found[:, 1] - cells["p"]).mean() < 0.18


def test_a_missing_feature_is_marginalised(trained):
    model, frame, y = trained
    rows = pd.DataFrame({"a": ["p", "q", None], "b": [None, None, None]})
    expected = [np.mean(y[frame["a"] == k] == "yes") for k in "pq"] + [np.mean(y == "yes")]
    # Over salts the largest error is 0.15: few rows of training lack a value.
    np.testing.assert_allclose(model.predict_proba(rows)[:, 1], expected, atol=0.3)


def test_a_level_that_was_never_seen_counts_as_missing(trained):
    model, _, _ = trained
    rows = pd.DataFrame({"a": ["p", "p"], "b": [None, "new"]})
    found = model.predict_proba(rows)
    np.testing.assert_array_equal(found[0], found[1])


def test_probabilities_are_those_of_the_generator(trained):
    model, frame, _ = trained
    slow = model.generator_.conditional_proba(frame[:20], "y")
    assert slow.columns.tolist() == ["no", "yes"]
    expected = slow.to_numpy() ** (1 / model.temperature_)
    expected /= expected.sum(1, keepdims=True)
    # In float32, with observed values without the noise of their floor.
    np.testing.assert_allclose(model.predict_proba(frame[:20]), expected, atol=1e-4)


def test_rows_and_classes_have_a_density(trained):
    model, frame, _ = trained
    found = model.log_likelihood(frame[:5])
    joint = model.generator_.score_samples(frame[:5].assign(y="yes"))
    np.testing.assert_allclose(found[:, 1], joint - np.log(model.class_prior_[1]))


def test_priors_reweight_classes(trained):
    _, frame, y = trained
    plain = GUDClassifier(small(max_iter=3)).fit(frame, y)
    again = clone(plain).set_params(priors=[0.8, 0.2]).fit(frame, y)
    before, after = plain.predict_proba(frame[:9]), again.predict_proba(frame[:9])
    expected = before * [0.8, 0.2] / plain.class_prior_
    np.testing.assert_allclose(after, expected / expected.sum(1, keepdims=True), atol=1e-6)
    np.testing.assert_array_equal(again.class_prior_, [0.8, 0.2])


LABELS = {
    "text": np.array(["no", "yes"]), "bool": np.array([False, True]), "int": np.array([7, 3]),
    "float": np.array([1.0, 2.0]), "object": np.array(["b", "a"], dtype=object),
}  # fmt: skip


ROWS = {
    "array": np.asarray, "objects": lambda X: X.astype(object), "numbered": pd.DataFrame,
    "named": lambda X: pd.DataFrame(X, columns=list("abc")),
}  # fmt: skip
PAIRS = [(label, rows) for label in LABELS for rows in ("array", "named")]


@pytest.mark.parametrize(("label", "rows"), [*PAIRS, ("text", "objects"), ("text", "numbered")])
def test_labels_of_any_dtype(label, rows):
    X, code = linear(80)[0], np.arange(80) % 2
    X[:, 0] += 8 * code
    y, X = LABELS[label][code], ROWS[rows](X)
    model = GUDClassifier(small(max_iter=10, batch_size=16, learning_rate_init=0.03)).fit(X, y)
    np.testing.assert_array_equal(model.classes_, np.unique(y))
    # All of them after training, half of them by chance.
    assert (model.predict(X) == y).mean() > 0.75


@every_container
def test_frames_of_any_kind(container):
    frame, y = crossed(80)
    frame["y"] = np.arange(80) / 80
    model = GUDClassifier(small()).fit(container(frame), y)
    assert model.feature_names_in_.tolist() == ["a", "b", "y"]
    names = model.generator_.feature_names_in_
    assert names.tolist() == ["a", "b", "y", "y_"]
    found = model.predict_proba(container(frame))
    np.testing.assert_array_equal(found, model.predict_proba(container(frame[["y", "b", "a"]])))
    regressor = GUDRegressor(small()).fit(container(frame), np.arange(80.0) ** 2)
    assert regressor.predict(container(frame)).shape == (80,)
    assert type(regressor.generator_.sample(2)) is type(container(frame))


def test_missing_values_in_features_of_fit():
    X, y = linear(100)
    X[::5, 0] = np.nan
    for model in (GUDClassifier(small()).fit(X, y > 0), GUDRegressor(small()).fit(X, y)):
        assert np.isfinite(model.predict(X)).all()


def test_images_are_classified_by_densities():
    X, y = random_images(20, (4, 4, 1)), np.arange(20) % 2
    assert GUDClassifier(small(max_iter=0)).fit(X, y).method_ == "density"
    flat = X.reshape(20, -1)
    shaped = GUDClassifier(small(max_iter=0, shape=(4, 4))).fit(flat, y)
    assert shaped.method_ == "density"
    with pytest.raises(ValueError, match="method='joint' makes the class a column"):
        GUDClassifier(small(max_iter=0), method="joint").fit(X, y)


def test_a_class_of_one_row_is_known():
    X, y = linear(60)
    labels = np.where(np.arange(60) == 7, 2, (y > 0).astype(int))
    found = GUDClassifier(small()).fit(X, labels).predict_proba(X)
    assert found.shape == (60, 3) and (found > 0).all()


# Parameters and errors


@pytest.mark.parametrize("kind", [GUDClassifier, GUDRegressor])
def test_schema_and_widths_of_the_generator_are_kept(kind):
    X = pd.DataFrame({"a": np.arange(60) % 7, "b": np.linspace(0, 1, 60)})
    y = np.arange(60) % 2 if kind is GUDClassifier else np.linspace(-1, 1, 60) ** 3
    gen = small(schema=Schema(feature_types={"a": "ordered"}), bin_width=[1.0, np.nan])
    model = kind(gen).fit(X, y)
    types = [column.feature_type for column in model.generator_.schema_.columns]
    expected = "category" if kind is GUDClassifier else "continuous"
    assert types == ["ordered", "continuous", expected]
    assert gen.schema.feature_types == {"a": "ordered"} and gen.targets is None


@pytest.mark.parametrize("kind", [GUDClassifier, GUDRegressor])
def test_nested_parameters_clones_and_pickles(kind):
    X, y = linear(60)
    y = y > 0 if kind is GUDClassifier else y
    model = kind(random_state=1).set_params(generator__max_iter=1, generator__network__width=8)
    model = clone(model).fit(X, y)
    assert model.generator_.n_iter_ == 1 and model.generator_.random_state == 1
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    search = GridSearchCV(kind(small()), {"generator__max_iter": [0, 1]}, cv=2).fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_networks_that_predict_have_more_units_and_waves():
    X, y = linear(60)
    network = GUDRegressor(GUDGenerator(max_iter=0)).fit(X, y).generator_.network_
    assert (network.width, network.n_blocks, network.n_frequencies) == (256, 2, 12)
    plain = GUDGenerator(max_iter=0).fit(X).state_
    assert "frequencies" not in plain.weights and plain.weights["first.weight"].shape[0] == 128


BAD_Y = {
    "none": (None, "requires y to be passed"),
    "nan": (np.where(np.arange(40) % 20 == 3, np.nan, 1.0), "in 2 rows: 3, 23"),
    "infinite": (np.where(np.arange(40) == 3, np.inf, 1.0), "in 1 rows: 3"),
    "constant": (np.ones(40), "y is 1.0 in all rows"),
    "few": (np.arange(3.0), "y has 3 values for 40 rows"),
    "columns": (np.ones((40, 2)), "1d array"),
    "text": (np.array(["a", "b"] * 20), "could not convert|numeric"),
}


@pytest.mark.parametrize("name", BAD_Y)
def test_targets_that_cannot_be_fitted(name):
    y, message = BAD_Y[name]
    with pytest.raises(ValueError, match=message):
        GUDRegressor(small(max_iter=0)).fit(continuous(), y)


def test_requests_that_cannot_be_answered(gaussian):
    model, X, y, _ = gaussian
    for q in (0, 1, -0.1, [0.5, 1.5], [], [[0.5]], np.nan):
        with pytest.raises(ValueError, match="between 0 and 1, both excluded"):
            model.predict_quantile(X, q)
    with pytest.raises(ValueError, match="n_samples=0"):
        model.sample_y(X, 0)
    with pytest.raises(ValueError, match=r"statistic='max' must be one of 'mean', 'median'"):
        model.predict(X, "max")
    with pytest.raises(ValueError, match="y has 2 values for 3 rows"):
        model.log_prob(X[:3], y[:2])
    with pytest.raises(ValueError, match="features"):
        model.predict(X[:, :2])
    with pytest.raises(ValueError, match="shape= says that X holds images"):
        GUDRegressor(small(shape=(1, 3))).fit(X, y)
    from sklearn.neighbors import KernelDensity

    with pytest.raises(TypeError, match="has no targets"):
        GUDRegressor(KernelDensity()).fit(X, y)


def test_a_failed_fit_leaves_the_earlier_fit_of_a_regressor():
    X, y = linear(40)
    model = GUDRegressor(untrained()).fit(X, y)
    before = model.predict(X)
    with pytest.raises(ValueError, match="in all rows"):
        model.fit(pd.DataFrame(X, columns=list("abc")), np.ones(40))
    np.testing.assert_array_equal(model.predict(X), before)


@pytest.mark.parametrize("clip", [True, False])
def test_quantiles_and_means_stay_in_the_range_of_the_target(clip):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 2))
    y = np.exp(2 * X[:, 0] + rng.normal(size=200))
    generator = GUDGenerator(max_iter=0, schema=Schema(clip=clip))
    model = GUDRegressor(generator, random_state=0).fit(X, y)
    extremes = np.array([[4.0, 0.0], [-4.0, 0.0]])
    low, high = model.predict_quantile(extremes, [1e-4, 1 - 1e-4]).T
    inside = (y.min() <= low).all() and (high <= y.max()).all()
    assert inside == clip and (model.predict(extremes) <= y.max()).all() == clip
    # The density does not end there.
    assert np.isfinite(model.log_prob(extremes, [2 * y.max(), y.min() / 2])).all()
