"""What the parameters of training do."""

import numpy as np
import pytest

from gudlearn import MLP, GUDGenerator, SequentialSchedule, SoftConditioningSchedule, VPSchedule
from gudlearn.training.options import default_batch_size, make_trainer, n_epochs, resolve_network
from small import continuous, dependent, small

# Untrained, with independent components: the product of the marginals.
INDEPENDENT = {"max_iter": 0, "preconditioning": "marginal"}


def same_weights(first, second):
    return all(
        np.array_equal(weight, second.weights_[name]) for name, weight in first.weights_.items()
    )


def test_training_finds_the_dependence_of_columns():
    X = dependent()
    untrained = small(**INDEPENDENT).fit(X)
    parameters = {"max_iter": 60, "batch_size": 30, "learning_rate_init": 1e-2}
    trained = small(preconditioning="marginal", **parameters).fit(X)
    # Over seeds the gain is 2.0 nats a row with a standard deviation of 0.07, and 0.7 nats a
    # dimension, standard deviation 0.04, on the ten validation rows.
    assert trained.score(X) > untrained.score(X) + 1.5
    assert trained.best_validation_score_ > trained.validation_scores_[0] + 0.4


def test_without_epochs_the_model_is_the_product_of_the_marginals():
    X = continuous()
    gen = small(**INDEPENDENT).fit(X)
    assert gen.n_iter_ == 0
    assert gen.loss_curve_ == gen.validation_scores_ == []
    assert gen.best_validation_score_ is None
    alone = sum(small(max_iter=0).fit(X[:, [j]]).score(X[:, [j]]) for j in range(3))
    assert gen.score(X) == pytest.approx(alone, rel=1e-9)


def test_without_validation_rows_the_last_weights_are_kept():
    gen = small(validation_fraction=0).fit(continuous())
    assert gen.validation_scores_ == []
    assert gen.best_validation_score_ is None
    assert gen.n_iter_ == 2
    assert gen.score(continuous()) != small(max_iter=0).fit(continuous()).score(continuous())


def test_early_stopping_stops():
    # No progress of 10 nats per dimension is ever made.
    gen = small(max_iter=60, early_stopping=True, n_iter_no_change=2, tol=10.0).fit(continuous())
    assert len(gen.validation_scores_) == 3
    assert gen.n_iter_ < 10
    assert small(max_iter=8, n_iter_no_change=1, tol=10.0).fit(continuous()).n_iter_ == 8


@pytest.mark.parametrize(
    "parameters",
    [
        {"loss_weighting": "likelihood", "optimizer": "muon", "precision": "float32"},
        {"loss_weighting": "uniform"},
        {"optimizer": "adamw"},
        {"precision": "bfloat16"},
        {"preconditioning": "gaussian"},
        {"batch_size": 7, "max_iter": 20, "learning_rate_init": 1e-2},
        {"batch_size": 1000, "max_iter": 90},
        {"schedule": VPSchedule()},
        {"schedule": SequentialSchedule(window=2)},
    ],
    ids=repr,
)
def test_every_choice_trains(parameters):
    # A joint Gaussian would leave nothing to learn.
    fixed = {
        "max_iter": 50, "batch_size": 35, "learning_rate_init": 2e-2,
        "preconditioning": "marginal", "validation_fraction": 0.3,
    }  # fmt: skip
    gen = small(**{**fixed, **parameters}).fit(dependent(200))
    # Over seeds the gain is 0.5 to 0.7 nats a dimension with a standard deviation of 0.09 at most.
    assert gen.best_validation_score_ > gen.validation_scores_[0] + 0.05
    assert all(np.isfinite(w).all() for w in gen.weights_.values())
    assert np.isfinite(gen.score_samples(dependent())).all()


@pytest.mark.parametrize(
    ("parameter", "values"),
    [
        ("loss_weighting", ["likelihood", "uniform"]),
        ("optimizer", ["muon", "adamw"]),
        ("precision", ["float32", "bfloat16"]),
        ("learning_rate_init", [1e-3, 1e-2]),
        ("batch_size", [10, 20]),
    ],
)
def test_every_choice_makes_a_difference(parameter, values):
    X = continuous()
    first, second = (small(validation_fraction=0, **{parameter: value}).fit(X) for value in values)
    assert not same_weights(first, second)


def test_scores_follow_the_schedule_in_use():
    gen = small(max_iter=20, schedule="soft").fit(dependent())
    before = gen.score_components(dependent()[:5])
    gen.schedule_.set_params(softness=0.2)
    after = gen.score_components(dependent()[:5])
    assert not np.allclose(before, after, atol=1e-3)
    gen.schedule_ = SoftConditioningSchedule(softness=0.2)
    np.testing.assert_array_equal(gen.score_components(dependent()[:5]), after)


def test_early_stopping_needs_validation_rows():
    with pytest.raises(ValueError, match="early_stopping=True needs rows to judge by"):
        small(early_stopping=True, validation_fraction=0).fit(continuous())


def test_default_epochs_and_dropout_follow_the_number_of_rows():
    sizes = (10, 400, 1000, 3000, 20_000, 600_000)
    assert [n_epochs("auto", None, n) for n in sizes] == [110, 500, 700, 500, 300, 10]
    # Few steps of many rows cost less than many of few, but not fewer than some hundred.
    batches = [default_batch_size(n, False) for n in (9, 60, 270, 900, 5000)]
    assert batches == [9, 60, 104, 900, 1024]
    assert [default_batch_size(n, True) for n in (9, 900)] == [9, 32]
    assert n_epochs("auto", None, 1000, small_steps=True) == 500
    assert default_batch_size(900, False, small_steps=True) == 225
    assert n_epochs("auto", 5, 10) is None
    dropout = [resolve_network("auto", n).dropout for n in (100, 3000, 20_000)]
    assert dropout == [0.2, 0.1, 0.0]
    assert resolve_network(MLP(dropout=0.4), 100).dropout == 0.4


@pytest.mark.parametrize(
    ("parameters", "batch_size"), [({}, 900), ({"targets": 0}, 225), ({"retrieval": 50}, 225)]
)
def test_targets_and_retrieval_keep_to_small_steps(parameters, batch_size):
    gen = small(max_iter=0, **parameters).fit(continuous(60))
    assert make_trainer(gen, gen.state_, 1000, 0).batch_size == batch_size


def test_default_sampler_takes_more_steps_for_sequential_components():
    X = continuous(40, 8)
    together = GUDGenerator(max_iter=0).fit(X).sampling().sampler
    sequential = GUDGenerator(max_iter=0, schedule="sequential").fit(X).sampling().sampler
    assert together.steps == 50
    # Each of eight components is active for an eighth of the time.
    assert 300 <= sequential.steps <= 500
