"""Fits through the estimator: what they learn, in which units, and when they fail."""

import numpy as np
import pytest
import torch

from gudlearn import PCABasis
from gudlearn.training.options import resolve_network
from small import continuous, small, whole


@pytest.mark.parametrize("fraction", [0.0, 0.2])
def test_a_fit_whose_loss_explodes_raises_and_can_still_score(fraction):
    X = continuous(200)
    gen = small(
        learning_rate_init=1e30, max_iter=20, optimizer="adamw", validation_fraction=fraction
    )
    with pytest.raises(FloatingPointError, match="learning_rate_init"):
        gen.fit(X)
    assert all(np.isfinite(w).all() for w in gen.weights_.values())
    assert np.isfinite(gen.score_samples(X[:5])).all()


@pytest.mark.parametrize("X, width", [(1e4 * continuous(200) + 9, None), (whole(200), 1.0)])
def test_losses_are_nats_per_dimension_in_the_units_of_the_data(X, width):
    X = np.hstack([X, np.ones((200, 1))])
    settings = {"validation_fraction": 0, "learning_rate_init": 1e-9}
    gen = small(bin_width=width, max_iter=60, **settings).fit(X)
    # The network stays untrained: losses are the negative log-likelihood of the rows, and their
    # mean has a standard error of 0.05.
    assert np.mean(gen.loss_curve_) == pytest.approx(-gen.score(X) / 4, abs=0.3)


@pytest.mark.parametrize(
    "parameters",
    [
        {"bin_width": 1.0},
        {"bin_width": [1.0, 1.0, None]},
        {"bin_width": 1.0, "basis": PCABasis()},
        {"bin_width": [1.0, 0.5, 1.0], "basis": PCABasis()},
        {"basis": PCABasis(), "schedule": "sequential"},
        {"preconditioning": "gaussian", "loss_weighting": "uniform"},
    ],
    ids=repr,
)
def test_every_kind_of_data_trains(parameters):
    X = whole(200)
    gen = small(max_iter=3, validation_fraction=0, **parameters).fit(X)
    untrained = small(max_iter=0, **parameters).fit(X).weights_
    assert any(not np.array_equal(gen.weights_[name], untrained[name]) for name in untrained)
    assert np.isfinite(gen.loss_curve_).all()
    assert np.isfinite(gen.score_samples(X[:20])).all()
    assert gen.sample(5).shape == (5, 3)


@pytest.mark.parametrize(
    "parameters",
    [{"bin_width": 1.0}, {"bin_width": [1.0, 1.0, None]}, {"loss_weighting": "uniform"}],
    ids=repr,
)
def test_training_raises_the_likelihood(parameters):
    # The third column follows the first: there is something to learn.
    X = whole(200)
    settings = {"preconditioning": "gaussian", "learning_rate_init": 1e-2, **parameters}
    gen = small(max_iter=60, validation_fraction=0, **settings).fit(X)
    gain = gen.score(X) - small(max_iter=0, **settings).fit(X).score(X)
    # They gain 0.75 nats a row, and 0.07 more or less with other seeds.
    assert gain > 0.3


def test_batches_of_one_row_and_of_all():
    X = continuous(20)
    for batch_size in (1, 10**6):
        gen = small(batch_size=batch_size, max_iter=2).fit(X)
        assert np.isfinite(gen.loss_curve_).all() and len(gen.loss_curve_) == 2


def test_weights_decay():
    def norm(decay):
        gen = small(weight_decay=decay, max_iter=100, validation_fraction=0, batch_size=20)
        weights = gen.fit(continuous()).weights_
        return sum(np.abs(w).sum() for name, w in weights.items() if w.ndim == 2)

    assert norm(5.0) < 0.9 * norm(0.0)


def test_a_compiled_denoiser_learns_the_same(monkeypatch):
    compiled, original = [], torch.compile

    def compile_eagerly(module):
        # Traced as for any backend, but run without a compiler, which a machine may lack.
        compiled.append(module)
        return original(module, backend="eager")

    monkeypatch.setattr(torch, "compile", compile_eagerly)
    X = continuous()
    settings = {"validation_fraction": 0, "max_iter": 5, "learning_rate_init": 0.1}
    gen, plain = small(compile=True, **settings).fit(X), small(**settings).fit(X)
    assert len(compiled) == 1
    np.testing.assert_allclose(gen.loss_curve_, plain.loss_curve_, rtol=1e-4)
    untrained = small(max_iter=0).fit(X).weights_

    def distance(weights, others):
        return sum(np.square(w - others[name]).sum() for name, w in weights.items()) ** 0.5

    # A gradient that is zero up to rounding may move a weight to either side.
    learned = distance(plain.weights_, untrained)
    assert distance(gen.weights_, plain.weights_) < 0.02 * learned
    assert learned > 0.01


def test_the_width_of_the_network_follows_the_number_of_rows():
    widths = [resolve_network("auto", n, (8, 8, 1)).width for n in (100, 5000, 100_000)]
    assert widths == [32, 48, 96]
