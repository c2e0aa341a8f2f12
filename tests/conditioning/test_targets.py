"""Masks that favour columns which will be asked for given the others."""

import numpy as np
import pandas as pd
import pytest
import torch

from gudlearn import GUDGenerator, PCABasis
from gudlearn.conditioning.random_masks import RandomMasks
from gudlearn.conditioning.states import MISSING, OBSERVED, TARGET, MaskedPath, steady_targets
from gudlearn.diffusion.losses import TimeDensity, nll_integrand
from gudlearn.training.validation import make_validation
from small import continuous, random_images, small

N = 4000


def mixed(n=60):
    """Two numbers and a category that depends on the first."""
    X = continuous(n)[:, :2]
    return pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "kind": np.where(X[:, 0] > 0, "u", "v")})


def model_of(**parameters):
    gen = small(conditional_rate=0.5, max_iter=1, **parameters).fit(mixed())
    return gen, gen.fitted_model().components


def favouring(favoured, groups=None):
    groups = torch.arange(3) if groups is None else groups
    grid = (int(groups.max()) + 1,)
    return RandomMasks(groups, grid, 1.0, torch.zeros(3), torch.tensor(favoured))


def test_favoured_components_are_the_targets_of_most_masked_rows():
    _, model = model_of()
    masks = favouring([False, False, True])
    path = masks.path(model.path, N, torch.Generator().manual_seed(0))
    alone = (path.target == torch.tensor([False, False, True])).all(1)
    complete = alone & path.observed[:, :2].all(1)
    # Four fifths of the rows, and three quarters of these, within five standard errors; others
    # have the same states by chance.
    error = 5 * (0.25 / N) ** 0.5
    assert 0.8 - error < alone.float().mean() < 0.9 + error
    assert 0.6 - error < complete.float().mean() < 0.75 + error
    some = path.missing[alone & ~complete][:, :2]
    assert 0 < some.float().mean() < 1
    # They are not sequential.
    assert (path.width[complete] == 1).float().mean() > 0.9


def test_components_of_one_column_have_one_state():
    _, model = model_of()
    masks = favouring([False, False, True], torch.tensor([0, 0, 1]))
    path = masks.path(model.path, N, torch.Generator().manual_seed(0))
    assert (path.missing[:, 0] == path.missing[:, 1]).all()


def test_categories_that_are_the_only_target_are_steady():
    state = torch.tensor([
        [OBSERVED, OBSERVED, TARGET], [MISSING, OBSERVED, TARGET], [TARGET, OBSERVED, TARGET],
        [TARGET, OBSERVED, OBSERVED],
    ])  # fmt: skip
    found = steady_targets(state, 1)
    assert found.tolist() == [[0, 0, 1], [0, 0, 1], [0, 0, 0], [0, 0, 0]]


def test_a_steady_category_has_the_bound_without_its_noise():
    _, model = model_of()
    n = 2
    x0 = torch.tensor([[0.3, -0.2, 1.0], [-1.0, 0.5, 0.0]]).double()
    state = torch.tensor([OBSERVED, OBSERVED, TARGET]).expand(n, 3)
    log_variances = torch.zeros(3).double()
    steady = MaskedPath(model.path, state, log_variances, steady=steady_targets(state, 1))
    masked = MaskedPath(model.path, state, log_variances)

    def terms(path, t, eps):
        return nll_integrand(model.denoiser, path, x0.repeat(len(t) // n, 1), t, eps)[:, 2]

    # Observed components without noise; the category is masked with probability u(t).
    eps = torch.zeros(2, 3).double()
    of_steady = [terms(steady, torch.full((n,), t).double(), eps) for t in (0.1, 0.9)]
    torch.testing.assert_close(of_steady[0], of_steady[1])
    # It is the cross-entropy of the category where it is masked.
    seen = steady(torch.ones(n).double())
    log_prob = model.levels.split(model.denoiser(torch.where(state == OBSERVED, x0, 0.0), seen))[1]
    entropy = model.levels.nll(log_prob, x0[:, 2:])[:, 0]
    # What is observed has the scale of its floor.
    torch.testing.assert_close(of_steady[0], entropy, rtol=1e-3, atol=1e-4)
    m = 2000
    t = ((torch.arange(m) + 0.5) / m).double().repeat_interleave(n)
    u = torch.rand(m * n, generator=torch.Generator().manual_seed(0)).double()
    eps = torch.zeros(m * n, 3).double()
    eps[:, 2] = torch.special.ndtri(u)
    drawn = terms(masked, t, eps).view(m, n)
    error = drawn.std(0) / m**0.5
    assert ((drawn.mean(0) - of_steady[0]).abs() < 5 * error).all()


def test_the_weight_of_a_steady_row_does_not_depend_on_its_time():
    _, model = model_of()
    state = torch.tensor([[OBSERVED, OBSERVED, TARGET], [TARGET, OBSERVED, OBSERVED]])
    path = MaskedPath(model.path, state, torch.zeros(3), steady=steady_targets(state, 1))
    density = TimeDensity(torch.tensor([1.0, 3.0]))
    _, weight = path.row_times(torch.tensor([0.2, 0.2]), density, path.target, None)
    assert weight[0] == 1 and weight[1] > 1.5


def test_validation_scores_targets_given_the_others():
    gen = small(targets="kind", max_iter=0, random_state=0).fit(mixed(400))
    rows = gen.state_.container.read(mixed(400))
    from gudlearn.data.rows import Rows
    from gudlearn.training.options import make_trainer, targets_of

    targets = targets_of(gen, gen.state_)
    assert targets.tolist() == [False, False, True]
    validation = make_validation(gen.fitted_model(), Rows.of(rows), 0, targets)
    scores = validation.scores(make_trainer(gen, gen.state_, 400, 0))
    # Untrained, the category has its frequencies: the mean of their logarithms, exactly.
    p = np.exp(gen.state_.encoding.categories.log_pmf)
    counts = np.bincount(rows[:, 2].astype(int)) / 400
    assert scores.mean() == pytest.approx(counts @ np.log(p), abs=1e-3)


def test_training_for_targets_improves_their_score():
    X = mixed(300)
    gen = small(targets="kind", max_iter=40).fit(X)
    assert gen.conditional_rate_ == 0.8
    # ln 2 is the loss of a guess.
    assert gen.best_validation_score_ > -0.45
    given = gen.score_samples(X, given_columns=["a", "b"])
    assert given.mean() > -0.5


BAD = {
    "unknown": ({"targets": "kid"}, r"targets names column 'kid'.*Did you mean 'kind'"),
    "index": ({"targets": 7}, "targets names column 7"),
    "all": ({"targets": ["a", "b", "kind"]}, "names 3 of the 3 columns"),
    "none": ({"targets": []}, "names 0 of the 3 columns"),
    "rate": ({"targets": "a", "conditional_rate": 0}, "needs rows that are partially observed"),
    "basis": ({"targets": "a", "basis": PCABasis()}, "the basis mixes these columns"),
}


@pytest.mark.parametrize("name", BAD)
def test_targets_that_cannot_be_had(name):
    parameters, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        small(max_iter=0).set_params(**parameters).fit(mixed())


def test_images_have_no_targets():
    with pytest.raises(ValueError, match="columns of a table, but X holds images"):
        GUDGenerator(targets=0, max_iter=0).fit(random_images(10))


def test_targets_may_be_named_by_labels_or_indices():
    for X, key in ((mixed(), "b"), (continuous(), 1), (continuous(), [0, 2])):
        small(targets=key).fit(X)
