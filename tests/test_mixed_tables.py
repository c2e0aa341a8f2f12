"""Tables of categories, point masses and numbers: exact scores, and what must not change them."""

import itertools
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import norm

from gudlearn import MLP, GUDGenerator, PCABasis, Schema, SequentialSchedule
from gudlearn.model import component
from small import few_draws, small

# Nothing is trained, and columns are independent.
APART = {"max_iter": 0, "preconditioning": "marginal"}


def mixed(n=200, seed=0):
    """Columns of every nature that depend on one another."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    rare = np.where(rng.random(n) < 0.7, "b", "c")
    return pd.DataFrame(
        {
            "kind": np.where(x + rng.normal(size=n) > 0, "a", rare),
            "x": x,
            "balance": np.where(rng.random(n) < 0.4, 0.0, x + rng.normal(size=n)),
            "age": np.rint(40 + 12 * x + 9 * rng.normal(size=n)).astype(int),
            "ok": x > rng.normal(size=n),
        }
    )


@pytest.fixture(scope="module")
def trained():
    return small(conditional_rate=0.3).fit(mixed())


def frequencies(gen, name):
    """Smoothed frequencies of the levels of a category, by level."""
    state, place = gen.state_, gen.schema_.names.index(name)
    field = gen.schema_.first_field[place]
    log_pmf = state.encoding.categories.log_pmf[state.encoding.categories.part(field)]
    return dict(zip(gen.schema_.columns[place].levels, log_pmf, strict=True))


# Exact scores


def test_an_untrained_model_scores_the_sum_of_its_marginals():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"kind": rng.choice(list("abc"), 150, p=[0.6, 0.3, 0.1]),
                      "x": rng.normal(5, 3, 150), "ok": rng.random(150) < 0.2})  # fmt: skip
    gen = small(max_iter=0, preconditioning="gaussian").fit(X)
    kinds, ok = frequencies(gen, "kind"), frequencies(gen, "ok")
    # A value that was never seen has a probability of its own, which the levels lose.
    log_seen = np.log1p(-np.exp(gen.state_.encoding.categories.log_unseen))
    expected = X["kind"].map(kinds) + X["ok"].map(ok) + log_seen.sum()
    expected += norm(X["x"].mean(), X["x"].std(ddof=0)).logpdf(X["x"])
    # The bound of a Gaussian has an error of its noise floor, exp(gamma(0)) / 2 < 1e-4.
    np.testing.assert_allclose(gen.score_samples(X), expected, atol=2e-4)
    parts = gen.score_components(X)
    np.testing.assert_allclose(parts.sum(1), gen.score_samples(X))
    np.testing.assert_allclose(parts[:, 0], X["kind"].map(kinds) + log_seen[0])


def cells():
    levels = {"a": list("xyz"), "b": [True, False], "c": ["u", "v"]}
    return pd.DataFrame(itertools.product(*levels.values()), columns=list(levels))


@pytest.mark.parametrize("max_iter", [0, 20])
def test_probabilities_of_all_cells_sum_to_one(max_iter):
    rng = np.random.default_rng(0)
    grid = cells()
    X = grid.iloc[rng.choice(12, 300, p=rng.dirichlet(np.ones(12)))]
    gen = small(max_iter=max_iter).fit(X)
    total = np.exp(gen.score_samples(grid)).sum()
    # The levels leave something for values that were never seen.
    seen = 1 - np.exp(gen.state_.encoding.categories.log_unseen)
    if max_iter == 0:
        assert total == pytest.approx(seen.prod(), abs=1e-12)
    else:
        # A bound, from 128 draws or more of noise a row: the sum of 12 cells of probability p_k
        # has a standard error of sqrt(sum p_k^2 s_k^2), below 0.02 with s_k < 0.05.
        assert 0.7 < total < seen.prod() + 0.1


def test_the_density_beside_a_point_mass_integrates_to_the_rest(monkeypatch):
    # Without training there is nothing that draws of noise would decide.
    few_draws(monkeypatch)
    rng = np.random.default_rng(0)
    balance = np.where(rng.random(400) < 0.3, 0.0, rng.gamma(2.0, 50.0, 400))
    gen = small(**APART, schema=Schema(clip=False)).fit(pd.DataFrame({"balance": balance}))
    assert gen.schema_.columns[0].atoms.tolist() == [0.0]
    edges = np.linspace(-400, 1500, 1501)
    middle = (edges[1:] + edges[:-1]) / 2
    density = np.exp(gen.score_samples(pd.DataFrame({"balance": middle})))
    rest = density @ np.diff(edges)
    mass = np.exp(gen.score_samples(pd.DataFrame({"balance": [0.0]})))[0]
    frequency = (balance == 0).mean()
    assert mass == pytest.approx(frequency, abs=0.02)
    # The bound is below the log-density by its noise floor; tails reach beyond the edges.
    assert rest + mass == pytest.approx(1, abs=0.03)


# What must not change a score


def test_scores_do_not_depend_on_the_names_of_levels(monkeypatch):
    few_draws(monkeypatch)
    X = mixed()
    names = {"a": "1st", "b": "2nd", "c": "3rd"}
    Y = X.assign(kind=X["kind"].map(names))
    one, other = (small().fit(data) for data in (X, Y))
    np.testing.assert_array_equal(one.score_samples(X[:40]), other.score_samples(Y[:40]))


def test_untrained_scores_do_not_depend_on_the_order_of_levels():
    X = mixed()
    Y = X.assign(kind=X["kind"].map({"a": "z", "b": "y", "c": "x"}))
    one, other = (small(**APART).fit(data) for data in (X, Y))
    # The noise is keyed by codes; numbers that do not exist take no part in it.
    columns = ["kind", "ok"]
    a, b = (gen.score_components(data)[:, [0, 4]] for gen, data in ((one, X), (other, Y)))
    np.testing.assert_allclose(a, b, rtol=1e-9, err_msg=str(columns))


def test_scores_depend_on_no_other_row(trained):
    X = mixed(60, seed=1)
    scores = trained.score_samples(X)
    order = np.random.default_rng(0).permutation(60)
    np.testing.assert_allclose(trained.score_samples(X.iloc[order]), scores[order], rtol=1e-9)
    np.testing.assert_allclose(trained.score_samples(X[7:9]), scores[7:9], rtol=1e-9)
    np.testing.assert_allclose(trained.score_samples(X[X.columns[::-1]]), scores, rtol=1e-9)


def test_the_first_rows_of_a_longer_sample_are_a_shorter_one(trained):
    pd.testing.assert_frame_equal(trained.sample(300)[:5], trained.sample(5))


def test_a_pickled_model_is_the_same(trained):
    again = pickle.loads(pickle.dumps(trained))
    X = mixed(20, seed=1)
    np.testing.assert_array_equal(again.score_samples(X), trained.score_samples(X))
    pd.testing.assert_frame_equal(again.sample(20), trained.sample(20))
    pd.testing.assert_frame_equal(
        again.sample(given={"kind": "a"}), trained.sample(given={"kind": "a"})
    )


def test_several_draws_of_an_array_of_objects_are_one_array():
    X = mixed(60)[["kind", "x"]].to_numpy(dtype=object)
    gen = small(max_iter=0, conditional_rate=0.3).fit(X)
    given = np.array([["a", None], [None, 0.5]], dtype=object)
    drawn = gen.sample(3, given=given)
    assert drawn.shape == (3, 2, 2) and drawn.dtype == object
    assert (drawn[:, 0, 0] == "a").all() and (drawn[:, 1, 1] == 0.5).all()
    assert set(drawn[:, 1, 0]) <= set("abc")


# Fits in parts


def test_a_fit_is_continued_on_mixed_rows(monkeypatch):
    few_draws(monkeypatch)
    X = mixed()
    gen = small(warm_start=True, validation_fraction=0).fit(X)
    schema, before = gen.schema_, {k: v.copy() for k, v in gen.weights_.items()}
    gen.fit(mixed(seed=1))
    assert gen.n_iter_ == 4 and gen.schema_ is schema
    assert any((gen.weights_[k] != v).any() for k, v in before.items())
    parts = small().partial_fit(X[:100])
    # A level that the first call did not see is scored by its own probability.
    parts.partial_fit(X[100:].assign(kind="new"))
    assert parts.n_iter_ == 2
    seen = parts.sample(50)
    assert set(seen["kind"]) <= set("abc")
    assert np.isfinite(parts.score_samples(X[:5].assign(kind="new"))).all()
    with pytest.raises(ValueError, match="feature names should match"):
        parts.partial_fit(X.rename(columns={"x": "y"}))


def test_guidance_exaggerates_what_distinguishes_a_class():
    rng = np.random.default_rng(0)
    y = np.arange(2000) % 2
    X = pd.DataFrame({"kind": np.where(rng.random(2000) < np.where(y, 0.8, 0.2), "a", "b"),
                      "x": rng.normal(size=2000)})  # fmt: skip
    gen = small(class_conditional=True, max_iter=50, validation_fraction=0).fit(X, y)
    found = [
        [(gen.sample(1000, label, guidance=w)["kind"] == "a").mean() for label in (0, 1)]
        for w in (0, 1, 4)
    ]
    none, plain, strong = np.diff(found)[:, 0]
    assert none == 0
    # Standard errors of differences are at most 0.022, and 0.032 of the difference of two.
    assert plain > 0.11 and strong > plain + 0.16


# Orders


def test_an_order_of_names_is_a_chain_rule():
    X = mixed()
    order = ["ok", "balance", "kind", "x", "age"]
    gens = [
        small(**APART, schedule=SequentialSchedule(window=1, order=names)).fit(X)
        for names in (order, order[::-1])
    ]
    parts = [gen.score_components(X[:60]) for gen in gens]
    scores = [gen.score_samples(X[:60]) for gen in gens]
    for part, score in zip(parts, scores, strict=True):
        assert part.shape == (60, 5)
        np.testing.assert_allclose(part.sum(1), score)
    # Columns are independent: their own scores, not only the total, are those of any order.
    np.testing.assert_allclose(*parts, atol=1e-6)


# Sizes


def test_a_sentinel_changes_nothing_for_the_others():
    X = mixed(400)
    broken = X.copy()
    broken.loc[3, "x"] = 1e6
    clean, dirty = (small(**APART).fit(data) for data in (X, broken))
    rest = X.drop(index=3)
    before, after = (gen.score_components(rest)[:, 1] for gen in (clean, dirty))
    # One row of 400 is another one: a density changes by about 1/400 of its spread.
    assert np.median(np.abs(before - after)) < 0.1
    drawn = dirty.sample(400)["x"]
    assert np.quantile(np.abs(drawn), 0.98) < 10


def test_memory_grows_in_proportion_to_the_number_of_levels():
    rng = np.random.default_rng(0)
    sizes = []
    for n_levels in (1000, 10_000):
        codes = np.append(np.arange(n_levels), rng.integers(0, n_levels, 2000))
        X = pd.DataFrame({"zip": codes.astype(str), "x": rng.normal(size=len(codes))})
        spec = Schema(feature_types={"zip": "category"})
        settings = {"batch_size": 256, "validation_fraction": 0}
        gen = small(schema=spec, max_iter=0, warm_start=True, **settings).fit(X)
        assert len(gen.state_.encoding.categories.log_pmf) == n_levels
        # Two steps.
        gen.set_params(max_iter=1).fit(X[:512])
        sizes.append(len(pickle.dumps(gen)))
    assert len(set(gen.sample(20)["zip"]) - set(X["zip"])) == 0
    # Embeddings, logits, frequencies and names: ten times the levels, ten times the memory.
    assert sizes[1] < 10.5 * sizes[0]


def test_missing_values_that_are_modelled_are_sampled_as_often_as_they_are():
    rng = np.random.default_rng(0)
    X = mixed(600)
    gap = rng.random(600) < 0.3
    X["x"] = X["x"].where(~gap)
    X["kind"] = X["kind"].where(rng.random(600) < 0.8, None)
    gen = small(max_iter=0, schema=Schema(missing="model")).fit(X)
    drawn = gen.sample(2000)
    for name in ("x", "kind"):
        # Standard errors of both rates: sqrt(p (1 - p) (1/600 + 1/2000)) = 0.021.
        assert drawn[name].isna().mean() == pytest.approx(X[name].isna().mean(), abs=0.11)
    assert not drawn[["age", "ok", "balance"]].isna().any(axis=None)
    # A missing value is a value: it has a score.
    scores = gen.score_components(X[:50])
    missing = X["x"][:50].isna().to_numpy()
    rate = np.log(gap.mean())
    np.testing.assert_allclose(scores[missing, 1], rate, atol=0.1)
    observed = gen.score_components(X[:50].assign(x=0.5))[:, 1]
    assert (observed[missing] != scores[missing, 1]).all()


# What is refused


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda gen: gen.set_params(likelihood="flow").score_samples(mixed(5)),
         "likelihood='flow' is the density of numbers.*'kind'.*likelihood='bound'"),
        (lambda gen: gen.sample(observation=(np.ones((1, 5)), [1.0], 0.1)),
         "linear function of numbers, but column 'kind'.*given="),
        (lambda gen: gen.sample(given={"kind": "d"}), "'d'"),
        (lambda gen: gen.sample(where={"kind": ["d"]}), "'d'"),
        (lambda gen: gen.sample(where={"x": (2.0, 1.0)}), "empty|reversed|low"),
        (lambda gen: gen.score_samples(mixed(5).drop(columns="x")), "now missing:\n- x"),
        (lambda gen: gen.score_samples(mixed(5)[:0]), "0 sample"),
        (lambda gen: gen.score_samples(mixed(5).assign(x=np.inf)), "infinity: column 'x'"),
    ],
    ids=range(8),
)  # fmt: skip
def test_what_is_refused_after_a_fit(call, message, trained):
    likelihood = trained.likelihood
    try:
        with pytest.raises(ValueError, match=message):
            call(trained)
    finally:
        trained.set_params(likelihood=likelihood)


def with_column(**columns):
    return mixed(40).assign(**columns)


@pytest.mark.parametrize(
    ("X", "parameters", "message"),
    [
        (with_column(x=np.nan), {}, r"Columns \['x'\] of X hold nothing but NaN. Drop them"),
        (with_column(name=[f"n{k}" for k in range(40)]), {}, "'name'.*[Dd]rop"),
        (with_column(x=np.inf), {}, "infinity: column 'x'"),
        (with_column(kind=["a", 1] * 20), {}, "'kind'.*'a'.*1|'kind'.*1.*'a'"),
        (mixed(40)[:0], {}, "0 sample"),
        (pd.concat([mixed(40), mixed(40)[["x"]]], axis=1), {}, r"same name: \['x'\]"),
        (mixed(40), {"schema": Schema(feature_types={"agee": "whole"})}, "'agee'.*'age'"),
        (mixed(40), {"schema": Schema(feature_types={"age": "hole"})}, "'hole'.*'whole'"),
        (mixed(40), {"schema": Schema(constraints=["x <= balance"])}, "of 40 rows violate"),
    ],
    ids=range(9),
)  # fmt: skip
def test_bad_tables_are_refused_before_any_work(X, parameters, message):
    with pytest.raises(ValueError, match=message):
        small(**parameters).fit(X)


def test_a_basis_that_mixes_numbers_leaves_categories_alone(monkeypatch):
    few_draws(monkeypatch)
    X = mixed()
    gen = small(basis=PCABasis(), max_iter=1, conditional_rate=0.3).fit(X)
    assert np.isfinite(gen.score_samples(X[:5])).all()
    with pytest.raises(ValueError, match="make no whole components.*PCABasis.*identity"):
        gen.sample(given={"x": 0.5})
    drawn = gen.set_params(conditioning="exact").sample(given={"kind": ["a", "b"]})
    assert drawn["kind"].tolist() == ["a", "b"]


def test_a_sampler_has_a_step_for_each_category():
    X = pd.DataFrame(np.random.default_rng(0).integers(2, size=(60, 70)).astype(str))
    X = X.add_prefix("x")

    def steps(X, **parameters):
        gen = GUDGenerator(network=MLP(width=8, n_blocks=1), max_iter=0, **parameters).fit(X)
        return gen.sampling().sampler.steps

    assert steps(X) == 70 and steps(X.iloc[:, :23]) == 23
    # A trajectory has nine states.
    assert steps(X.iloc[:, :2]) == 10
    # A curve that is steep somewhere reveals more there, and numbers need steps of their own.
    assert steps(X.iloc[:, :23], schedule="cosine") == 50
    assert steps(X.iloc[:, :5].assign(number=np.linspace(-1.3, 1.7, 60))) == 50


@pytest.mark.parametrize("given", [None, {"x0": "1"}], ids=["whole", "given"])
def test_samples_draw_categories_at_even_times(given, monkeypatch):
    seen = []

    class Spy(component.RevealingDenoiser):
        def __init__(self, denoise, path, reveal_at, draws):
            seen.append((reveal_at, draws))
            super().__init__(denoise, path, reveal_at, draws)

    monkeypatch.setattr(component, "RevealingDenoiser", Spy)
    X = pd.DataFrame(np.random.default_rng(0).integers(2, size=(60, 4)).astype(str))
    gen = small(max_iter=1, conditional_rate=0.3).fit(X.add_prefix("x"))
    seen.clear()
    gen.sample(50, given=given)
    reveal_at, draws = (torch.cat(parts) for parts in zip(*seen, strict=True))
    assert torch.allclose(
        reveal_at.sort(1).values.diff(dim=1).double(), torch.tensor(0.25).double()
    )
    # In random order, and nothing that is drawn depends on it.
    assert len(reveal_at.argsort(1).unique(dim=0)) > 10
    assert abs(np.corrcoef(reveal_at.ravel(), draws.ravel())[0, 1]) < 5 / reveal_at.numel() ** 0.5
