"""Held-out rows: their split from the others, and the scores by which weights are chosen."""

import numpy as np
import pytest
import torch

from gudlearn._random import derive_seed
from gudlearn.data.rows import Rows
from gudlearn.training.split import hold_out
from gudlearn.training.trainer import Batch
from small import continuous, dependent, small, whole
from toy import toy_rows, toy_trainer, toy_validation


def held_out_rows(gen, X, n):
    """The rows that a fit holds out."""
    return X[hold_out(Rows.of(X), n, derive_seed(gen.random_state))]


# The split


def test_copies_of_a_row_are_held_out_together():
    X = np.repeat(continuous(50), [3] * 5 + [1] * 45, axis=0)
    sizes = set()
    for seed in range(20):
        held_out = hold_out(Rows.of(X), 12, seed)
        sizes.add(len(held_out))
        kept = np.delete(X, held_out, axis=0)
        assert not (X[held_out][:, None] == kept[None]).all(2).any()
    assert sizes == {12, 13, 14}


def test_the_rows_held_out_do_not_depend_on_units():
    X = continuous(50)
    np.testing.assert_array_equal(hold_out(Rows.of(X), 12, 0), hold_out(Rows.of(X / 16), 12, 0))


def test_rows_of_few_values_are_held_out_one_by_one():
    X = np.repeat(np.arange(4.0)[:, None], 25, axis=0)
    held_out = hold_out(Rows.of(X), 20, 0)
    assert len(held_out) == 20
    # Each value has 25 copies: none may be missing from what is trained on.
    assert set(np.delete(X, held_out)) == set(range(4))


# The score


def test_validation_has_the_same_noise_at_every_call():
    trainer, held_out = toy_trainer(), toy_validation()
    for _ in range(60):
        trainer.step(Batch(toy_rows(256)), 1.0)
    first = held_out.scores(trainer)
    assert torch.equal(first, held_out.scores(trainer))
    trainer.times.update(torch.tensor([0]), torch.tensor([1e6]))
    assert torch.equal(first, held_out.scores(trainer))


def test_validation_does_not_depend_on_the_chunk():
    trainer = toy_trainer()
    for _ in range(30):
        trainer.step(Batch(toy_rows(256)), 1.0)
    whole_set, chunked = (toy_validation(chunk=n).scores(trainer) for n in (4096, 64))
    # Only the sizes of matrix products differ.
    assert torch.allclose(chunked, whole_set, rtol=0, atol=1e-6)


@pytest.mark.parametrize("X, width", [(1e4 * continuous(200) + 9, None), (whole(200), 1.0)])
def test_the_first_validation_score_is_that_of_the_untrained_model(X, width):
    settings = {"bin_width": width, "preconditioning": "marginal"}
    gen = small(max_iter=1, validation_fraction=0.5, **settings).fit(X)
    untrained = small(max_iter=0, **settings).fit(X)
    # The untrained network adds nothing to the marginals, and no noise.
    expected = untrained.score(held_out_rows(gen, X, 100)) / X.shape[1]
    assert gen.validation_scores_[0] == pytest.approx(expected, abs=1e-5)


def test_the_score_that_chose_the_weights_is_that_of_the_held_out_rows():
    X = dependent(400)
    settings = {"preconditioning": "marginal", "learning_rate_init": 1e-2}
    gen = small(max_iter=40, validation_fraction=0.5, **settings).fit(X)
    assert gen.best_validation_score_ == max(gen.validation_scores_)
    # The same rows, but other draws of noise: the difference has a standard error of 0.02.
    expected = gen.score(held_out_rows(gen, X, 200)) / 3
    assert gen.best_validation_score_ == pytest.approx(expected, abs=0.15)
    assert gen.best_validation_score_ > gen.validation_scores_[0] + 0.1
