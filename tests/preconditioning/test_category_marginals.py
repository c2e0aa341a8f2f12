"""What a denoiser sees of categories, and of numbers that do not exist or are not yet told."""

import numpy as np
import pandas as pd
import pytest
import torch

from gudlearn.data.rows import Rows
from small import small

N = 120


def zero_inflated(n=N, seed=0):
    """A number, a column of two natures, and a category that all depend on one another."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    balance = np.where(rng.random(n) < 0.4, 0.0, x + rng.normal(size=n))
    return pd.DataFrame(
        {"x": x, "balance": balance, "kind": np.where(x + rng.normal(size=n) > 0, "a", "b")}
    )


@pytest.fixture(scope="module", params=[{}, {"retrieval": "auto"}, {"preconditioning": "marginal"}],
                ids=str)  # fmt: skip
def fitted(request):
    return small(max_iter=1, conditional_rate=0.3, **request.param).fit(zero_inflated())


def states(gen):
    """Components of rows, and noise levels at t = 1/2 with all categories observed."""
    model = gen.fitted_model().components
    rows = Rows.of(gen.schema_.read(zero_inflated()))
    z = gen.fitted_model().encode(rows)[:, model.active]
    gamma = model.path(torch.full((1,), 0.5, dtype=z.dtype)).expand_as(z).clone()
    n = model.levels.n_columns
    gamma[:, -n:] = model.path.gamma_0[-n:]
    return model, z, gamma


def by_case(gen):
    """States in which the number of two natures is hidden, and its component."""
    model, z, gamma = states(gen)
    categories = model.denoiser.categories
    (gate,), (number,) = categories.gates.tolist(), categories.numbers.tolist()
    n = model.levels.n_columns
    # Rows whose value is the point mass, and rows whose gate is masked.
    zero = z[:, z.shape[1] - n + gate] == 0
    masked = gamma.clone()
    masked[:, z.shape[1] - n + gate] = model.path.gamma_1[z.shape[1] - n + gate]
    return model, {"absent": (z[zero], gamma[zero]), "masked": (z, masked)}, number


@torch.no_grad()
@pytest.mark.parametrize("case", ["absent", "masked"])
def test_a_hidden_number_changes_no_bit(fitted, case):
    model, cases, number = by_case(fitted)
    x, gamma = cases[case]
    assert len(x) > 10
    denoiser, seen = model.denoiser, []

    def look(module, inputs, kwargs):
        seen.append([*inputs, *kwargs.values()])

    hook = denoiser.network.register_forward_pre_hook(look, with_kwargs=True)
    try:
        expected = denoiser(x, gamma)
        for value, level in ((3.0, 0.0), (-1e6, -5.0), (0.0, 40.0)):
            other, other_gamma = x.clone(), gamma.clone()
            other[:, number], other_gamma[:, number] = value, level
            assert torch.equal(denoiser(other, other_gamma), expected)
            for now, before in zip(seen[-1], seen[0], strict=True):
                assert torch.equal(now, before)
    finally:
        hook.remove()


@torch.no_grad()
def test_a_hidden_number_is_in_the_state_of_a_missing_one(fitted):
    model, cases, number = by_case(fitted)
    for x, gamma in cases.values():
        numbers, shown, _ = model.denoiser.categories.split_state(x, gamma)
        # Above this noise level components count as missing.
        assert (shown[:, number] > model.denoiser.missing_above[number]).all()
        rest = torch.arange(numbers.shape[1]) != number
        assert torch.equal(shown[:, rest], gamma[:, : len(rest)][:, rest])


@torch.no_grad()
def test_a_shown_number_does_count(fitted):
    model, z, gamma = states(fitted)
    categories = model.denoiser.categories
    (gate,), (number,) = categories.gates.tolist(), categories.numbers.tolist()
    n = model.levels.n_columns
    exists = z[:, z.shape[1] - n + gate] == model.levels.sizes[gate] - 1
    x, gamma = z[exists], gamma[exists]
    other = x.clone()
    other[:, number] += 0.5
    assert (model.denoiser(x, gamma) != model.denoiser(other, gamma)).any(1).all()


@torch.no_grad()
def test_codes_of_masked_categories_are_not_looked_at(fitted):
    model, z, gamma = states(fitted)
    n = model.levels.n_columns
    gamma[:, -n:] = model.path.gamma_1[-n:]
    other = z.clone()
    other[:, -n:] = 0
    assert torch.equal(model.denoiser(z, gamma), model.denoiser(other, gamma))


@torch.no_grad()
def test_without_training_categories_have_their_frequencies():
    untrained = small(max_iter=0, conditional_rate=0.3).fit(zero_inflated())
    model, z, gamma = states(untrained)
    _, log_prob = model.levels.split(model.denoiser(z, gamma))
    expected = torch.from_numpy(untrained.state_.encoding.categories.log_pmf)
    torch.testing.assert_close(log_prob, expected.expand_as(log_prob).to(log_prob))
