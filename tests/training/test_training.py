"""The loop: it learns, keeps the best, ends when told, and says what went wrong."""

import itertools
import time
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from gudlearn import GUDGenerator, PCABasis
from gudlearn.conditioning.random_masks import RandomMasks
from gudlearn.conditioning.states import MISSING, OBSERVED, TARGET, MaskedPath
from gudlearn.data.rows import Rows
from gudlearn.diffusion.paths import WindowedGamma
from gudlearn.model.device import autocast_type, to_arrays
from gudlearn.networks import MLP
from gudlearn.nn.denoiser import Denoiser
from gudlearn.preconditioning.marginals import GaussianMarginals
from gudlearn.training.loop import Budget, Hooks, learning_rate_factor, run_epochs
from gudlearn.training.options import make_trainer, n_epochs, resolve_network
from gudlearn.training.split import hold_out
from gudlearn.training.trainer import LOSSES, Batch, Trainer
from gudlearn.training.validation import Validation
from small import continuous, small, whole

CORRELATION = 0.95


def rows(n=256, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 2, generator=generator)
    return torch.stack([x[:, 0], CORRELATION * x[:, 0] + (1 - CORRELATION**2) ** 0.5 * x[:, 1]], 1)


def toy_trainer(loss="likelihood", optimizer="adamw", learning_rate=5e-3, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(0)
        network = MLP(width=16, n_blocks=1).build(2, 1)
    denoiser = Denoiser(network, GaussianMarginals(torch.zeros(2), torch.ones(2)))
    path = WindowedGamma([-6.0, -6.0], [6.0, 6.0], 0.0, 1.0).to(dtype=torch.float32)
    return Trainer(
        denoiser,
        path,
        loss=loss,
        batch_size=64,
        learning_rate=learning_rate,
        optimizer=optimizer,
        weight_decay=0.01,
        autocast=None,
        generator=torch.Generator().manual_seed(seed),
        masks=RandomMasks(torch.arange(2), (2,), 0.0, torch.zeros(2)),
    )


class Source:
    """Rows for a trainer; a function of the number of the pass, or the same in all."""

    imputed = False

    def __init__(self, x):
        self.of_pass = x if callable(x) else lambda _: x
        self.passes = 0

    def __len__(self):
        return len(self.of_pass(0))

    def begin_epoch(self, draw):
        self.x = self.of_pass(self.passes)
        self.passes += 1

    def take(self, index, generator):
        return Batch(self.x[index])


def validation(n=256, **parameters):
    settings = {"n_times": 16, "constant": 0.0, "n_dimensions": 2, "seed": 3}
    return Validation(rows(n, seed=9), **settings, **parameters)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("loss", ["likelihood", "uniform"])
def test_validation_approaches_what_correlation_is_worth(loss, optimizer):
    trainer = toy_trainer(loss, optimizer)
    log = run_epochs(trainer, Source(rows(1024)), Budget(25, None), validation=validation())
    # The untrained network is the product of the marginals: it adds nothing.
    assert log.validation_scores[0] == 0
    # -1/2 log(1 - 0.95^2) = 1.16 nats, over two dimensions; blurred by exp(-6) and half learned.
    assert 0.25 < log.best_score < 0.62
    assert np.mean(log.losses[-5:]) < np.mean(log.losses[:2])


def test_the_best_weights_are_kept():
    trainer = toy_trainer()
    log = run_epochs(trainer, Source(rows()), Budget(30, None), validation=validation())
    assert log.best_score == max(log.validation_scores)
    trainer.averaged.network.load_state_dict(log.best_state)
    again = validation().score(trainer)
    assert again > log.best_score - 0.05


def test_weights_that_grow_worse_are_not_kept():
    trainer = toy_trainer()
    scores = iter([0.0, 1.0, 0.5, 0.2, 0.1, 0.0, -1.0, -2.0])

    class Falling:
        def score(self, trainer):
            return next(scores)

    states = []

    def note(n_passes, state, log):
        states.append(state())

    log = run_epochs(trainer, Source(rows()), Budget(6, None), validation=Falling(), hooks=Hooks(after_epoch=note))
    assert log.best_score == 1.0
    for name, value in log.best_state.items():
        assert torch.equal(value, states[0][name])
    assert any(not torch.equal(states[-1][k], v) for k, v in log.best_state.items())


def test_patience_ends_the_run():
    class Flat:
        def score(self, trainer):
            return 0.0

    log = run_epochs(
        toy_trainer(), Source(rows()), Budget(100, None), validation=Flat(), patience=3, tol=1e-4
    )
    # The first score is progress; a hundred passes have 30 evaluations, one every four passes.
    assert log.stale == 3 and len(log.losses) < 20


def test_progress_below_tol_is_none():
    class Creeping:
        value = 0.0

        def score(self, trainer):
            self.value += 1e-5
            return self.value

    creeping = Creeping()
    log = run_epochs(
        toy_trainer(),
        Source(rows()),
        Budget(60, None),
        validation=creeping,
        patience=2,
        tol=1e-2,
    )
    assert log.stale == 2
    # They are the best all the same.
    assert log.best_score == creeping.value


def test_a_callback_can_stop_the_run():
    log = run_epochs(
        toy_trainer(), Source(rows()), Budget(50, None), hooks=Hooks(after_epoch=lambda n, *_: n == 3)
    )
    assert len(log.losses) == 3


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_names_the_column_and_keeps_good_weights(bad):
    trainer = toy_trainer()
    good = rows()
    spoilt = good.clone()
    spoilt[:, 1] = bad
    kept = []
    with pytest.raises(FloatingPointError, match="'tall' are the most extreme"):
        run_epochs(
            trainer,
            Source(lambda k: spoilt if k == 4 else good),
            Budget(10, None),
            validation=validation(),
            hooks=Hooks(
                extreme_column=lambda rows: ["tall", "wide"][int(rows.isfinite().all(0)[1])],
                keep=kept.append,
            ),
        )
    (log,) = kept
    assert all(torch.isfinite(v).all() for v in log.best_state.values())
    assert len(log.losses) == 4
    assert log.best_score == max(log.validation_scores)


@pytest.mark.parametrize("fraction", [0.0, 0.2])
def test_fit_raises_where_the_loss_explodes_and_can_still_score(fraction):
    X = continuous(200)
    gen = small(
        learning_rate_init=1e30, max_iter=20, optimizer="adamw", validation_fraction=fraction
    )
    with pytest.raises(FloatingPointError, match="learning_rate_init"):
        gen.fit(X)
    assert all(np.isfinite(w).all() for w in gen.weights_.values())
    assert np.isfinite(gen.score_samples(X[:5])).all()


@pytest.mark.parametrize("X, width", [(1e4 * continuous(200) + 9, None), (whole(200), 1.0)])
def test_losses_and_validation_are_in_one_unit(X, width):
    gen = small(bin_width=width, max_iter=60, learning_rate_init=1e-9).fit(X)
    # An untrained network, so both are the bound of the marginals: of other rows, by other draws.
    untrained = -gen.score(X) / X.shape[1]
    np.testing.assert_allclose(np.mean(gen.loss_curve_), untrained, rtol=0, atol=0.05)
    np.testing.assert_allclose(-gen.validation_scores_[0], untrained, rtol=0, atol=0.3)


# Budgets


def test_seconds_bind_where_they_end_first(monkeypatch):
    begin, ticks = time.monotonic(), itertools.count()
    clock = SimpleNamespace(monotonic=lambda: begin + next(ticks) / 10)
    monkeypatch.setattr("gudlearn.training.loop.time", clock)
    # A pass is one step here, and looks at the clock twice.
    gen = small(max_iter=10**6, max_time=3.0).fit(continuous(100))
    assert 10 <= gen.n_iter_ <= 16
    assert n_epochs("auto", 3.0, 100) is None


def test_passes_bind_where_they_end_first():
    assert small(max_iter=3, max_time=600).fit(continuous(100)).n_iter_ == 3


def test_share_of_the_budget():
    assert Budget(10, None).spent(5) == 0.5
    assert Budget(0, None).spent(0) == 1
    assert Budget(None, None).spent(1000) == 0
    now = time.monotonic()
    assert Budget(None, 10.0, now - 5).spent(0) == pytest.approx(0.5, abs=0.05)
    assert Budget(100, 10.0, now - 5).spent(1) == pytest.approx(0.5, abs=0.05)
    assert Budget(100, 10.0, now - 5).spent(90) == 0.9


def test_learning_rate_rises_and_falls_to_zero():
    factors = [learning_rate_factor(k, k / 1000) for k in range(1001)]
    peak = int(np.argmax(factors))
    assert 50 < peak < 150 and factors[500] == pytest.approx(0.5)
    assert (np.diff(factors[:peak]) > 0).all() and (np.diff(factors[peak:]) <= 0).all()
    assert factors[-1] == pytest.approx(0, abs=1e-12) and factors[0] == pytest.approx(0.01)


# The parts


@pytest.mark.parametrize("n_rows", [1, 5, 64, 100, 257])
def test_a_pass_sees_every_row_as_often_as_every_other(n_rows):
    trainer = toy_trainer()
    index = trainer.batches(n_rows)
    assert index.shape[1] == min(64, n_rows)
    assert index.min() >= 0 and index.max() < n_rows
    counts = torch.bincount(index.flatten(), minlength=n_rows)
    assert counts.max() - counts.min() <= 1
    # The number of batches is rounded: a third of a batch at most is left out or seen again.
    assert abs(index.numel() - n_rows) <= 32


def test_the_average_follows_the_weights():
    trainer = toy_trainer()
    expected = [p.detach().clone() for p in trainer.denoiser.parameters()]
    for k in range(5):
        trainer.step(Batch(rows(64)), 1.0)
        decay = min(trainer.AVERAGE, (1 + k) / (10 + k))
        for average, now in zip(expected, trainer.denoiser.parameters(), strict=True):
            average.lerp_(now.detach(), 1 - decay)
    for average, found in zip(expected, trainer.averaged.parameters(), strict=True):
        torch.testing.assert_close(found, average)


def test_a_batch_in_parts_has_the_gradient_of_the_whole():
    gradients = []
    for n_parts in (1, 3):
        trainer = toy_trainer()
        trainer.n_parts = n_parts
        weight = trainer._parameters[0]

        def batch_loss(batch, filled, weight=weight):
            # Short enough for nothing to be clipped.
            loss = 1e-3 * batch.x0.square().mean() * weight.sum()
            bins = torch.zeros(len(batch.x0), dtype=torch.long)
            return loss, loss.detach(), batch.x0[:, 0], bins

        trainer.batch_loss = batch_loss
        # Parts of 22, 21 and 21 rows.
        trainer.step(Batch(rows(64)), 0.0)
        gradients.append(weight.grad.clone())
    torch.testing.assert_close(*gradients)


class Fixed:
    """For all rows the second of two components in one state, and windows of one width."""

    rate = 1.0

    def __init__(self, state, width):
        self.state, self.width = torch.tensor([TARGET, state]), torch.full((2,), width)

    def path(self, path, n_rows, generator, missing=None):
        start = (1 - self.width) * torch.tensor([0.0, 1.0])
        many = (v.expand(n_rows, 2) for v in (start, self.width))
        return MaskedPath(path, self.state.expand(n_rows, 2), torch.zeros(2), *many)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("loss_normalization", [1.0, 0.5, 0.0])
@pytest.mark.parametrize(
    ("state", "width"), [(TARGET, 1.0), (MISSING, 1.0), (OBSERVED, 1.0), (TARGET, 0.1)]
)
def test_parts_and_windows_count_as_they_are_asked_to(state, width, loss_normalization, loss):
    trainer = toy_trainer(loss)
    trainer.masks, trainer.loss_normalization = Fixed(TARGET, 1.0), loss_normalization
    batch = Batch(rows(20_000))
    whole, of_whole, _, _ = trainer.batch_loss(batch)
    trainer.masks = Fixed(state, width)
    loss, mean, _, _ = trainer.batch_loss(batch)
    share = (0.5 if state != TARGET else 1.0) * width
    # A component is worth the same nats in any state: nothing is known of one by the other here.
    assert float(mean) == pytest.approx(float(of_whole), rel=0.03)
    weight = share ** (1 - loss_normalization)
    assert float(loss.detach()) == pytest.approx(weight * float(whole.detach()), rel=0.03)


@pytest.mark.parametrize("hole", [False, True])
def test_every_row_is_seen_when_something_moves_that_it_tells(hole):
    trainer, at, densities = toy_trainer(), [], []
    trainer.times.update(torch.arange(32), torch.linspace(1, 9, 32))
    trainer.masks, measure, sample = Fixed(TARGET, 0.1), trainer._loss, trainer.times.sample

    def loss_at(denoise, path, x0, t, eps):
        at.append(t)
        return measure(denoise, path, x0, t, eps)

    def times(u):
        found = sample(u)
        densities.append(1 / found[1])
        return found

    trainer._loss, trainer.times.sample = loss_at, times
    missing = torch.tensor([False, True]).expand(400, 2) if hole else None
    loss, _, terms, _ = trainer.batch_loss(Batch(rows(400), missing=missing), imputed=hole)
    # The first component moves before 0.1, the second, which is drawn but not told, after 0.9.
    early, late = at[0] < 0.1, at[0] > 0.9
    assert (early if hole else early | late).all() and late.any() == (not hole)
    # What the density of times is told of is what it is to be proportional to.
    assert (terms > 0).all()
    torch.testing.assert_close((terms / densities[0]).mean() / 2, loss)


def test_a_step_follows_its_generator_alone():
    losses = []
    for _ in range(2):
        trainer = toy_trainer(seed=7)
        losses.append([float(trainer.step(Batch(rows(64)), 1.0)) for _ in range(4)])
        torch.rand(3)
    assert losses[0] == losses[1]
    other = toy_trainer(seed=8)
    assert [float(other.step(Batch(rows(64)), 1.0)) for _ in range(4)] != losses[0]


def test_validation_has_the_same_noise_at_every_call():
    trainer, held_out = toy_trainer(), validation()
    for _ in range(60):
        trainer.step(Batch(rows(256)), 1.0)
    first = held_out.score(trainer)
    assert first == held_out.score(trainer)
    trainer.times.update(torch.tensor([0]), torch.tensor([1e6]))
    assert first == held_out.score(trainer)


def test_validation_does_not_depend_on_the_chunk():
    trainer = toy_trainer()
    for _ in range(30):
        trainer.step(Batch(rows(256)), 1.0)
    whole_set = validation().score(trainer)
    chunked = validation(chunk=64).score(trainer)
    assert chunked == pytest.approx(whole_set, abs=1e-6)


def test_times_of_scores_are_dense_where_the_correction_is_noisy():
    trainer = toy_trainer()
    np.testing.assert_array_equal(trainer.time_weights(Batch(rows(32))), np.ones(32))
    for _ in range(100):
        trainer.step(Batch(rows(256)), 1.0)
    weights = trainer.time_weights(Batch(rows(64)))
    assert weights.shape == (32,) and (weights > 0).all()
    # Where all is noise, or nothing is, the correction says nothing.
    assert weights[4:16].mean() > 3 * weights[[0, 1, 30, 31]].mean()


def test_weights_survive_the_way_through_numpy():
    state = toy_trainer().denoiser.network.state_dict()
    back = {k: torch.from_numpy(v) for k, v in to_arrays(state).items()}
    assert list(back) == list(state)
    assert all(torch.equal(back[k], state[k]) for k in state)
    # Copies: training goes on without changing what was kept.
    arrays = to_arrays(state)
    state["last.bias"] += 1
    assert not arrays["last.bias"].any()


# Through the estimator


def test_the_score_that_chose_the_weights_is_that_of_the_held_out_rows():
    X = continuous(400)
    gen = small(max_iter=40, validation_fraction=0.5, preconditioning="marginal").fit(X)
    assert gen.best_validation_score_ == max(gen.validation_scores_)
    assert gen.best_validation_score_ > gen.validation_scores_[0]
    # Held-out rows and others are of one law: 200 rows have a standard error of 0.05 nats/dim.
    assert gen.score(X) / 3 == pytest.approx(gen.best_validation_score_, abs=0.2)


def test_first_validation_score_is_the_untrained_models():
    X = continuous(100)
    gen = small(max_iter=1, validation_fraction=0.99, preconditioning="marginal").fit(X)
    untrained = small(max_iter=0, preconditioning="marginal").fit(X)
    per_row = untrained.score_samples(X) / 3
    # 99 of the 100 rows are held out.
    n = 99
    leave_one_out = (per_row.sum() - per_row) / n
    assert np.abs(leave_one_out - gen.validation_scores_[0]).min() < 1e-5


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
    # The third column follows the first: there is something to learn.
    X = whole(200)
    gen = small(max_iter=120, validation_fraction=0.2, **parameters).fit(X)
    assert np.isfinite(gen.loss_curve_).all()
    # Thirty passes of 160 rows tell a fall from noise.
    assert np.mean(gen.loss_curve_[-30:]) < np.mean(gen.loss_curve_[:30])
    assert np.isfinite(gen.score_samples(X[:20])).all()
    assert gen.sample(5).shape == (5, 3)


def test_batches_of_one_row_and_of_all():
    X = continuous(20)
    for batch_size in (1, 10**6):
        gen = small(batch_size=batch_size, max_iter=2).fit(X)
        assert np.isfinite(gen.loss_curve_).all() and len(gen.loss_curve_) == 2


def test_copies_of_a_row_are_held_out_together():
    X = np.repeat(continuous(50), [3] * 5 + [1] * 45, axis=0)
    held_out = hold_out(Rows.of(X), 12, 0)
    assert 12 <= len(held_out) <= 14
    kept = np.delete(X, held_out, axis=0)
    assert not (X[held_out][:, None] == kept[None]).all(2).any()


def test_the_rows_held_out_do_not_depend_on_units():
    X = continuous(50)
    np.testing.assert_array_equal(hold_out(Rows.of(X), 12, 0), hold_out(Rows.of(X / 16), 12, 0))


def test_rows_of_few_values_are_held_out_one_by_one():
    X = np.repeat(np.arange(4.0)[:, None], 25, axis=0)
    held_out = hold_out(Rows.of(X), 20, 0)
    assert len(held_out) == 20
    # Each value has 25 copies: none may be missing from what is trained on.
    assert set(np.delete(X, held_out)) == set(range(4))


def test_weights_decay():
    def norm(decay):
        gen = small(weight_decay=decay, max_iter=100, validation_fraction=0, batch_size=20)
        weights = gen.fit(continuous()).weights_
        return sum(np.abs(w).sum() for name, w in weights.items() if w.ndim == 2)

    assert norm(5.0) < 0.9 * norm(0.0)


def test_gradients_are_clipped():
    trainer = toy_trainer()
    trainer.step(Batch(1e3 * rows()), 0.0)
    norm = sum(float(p.grad.square().sum()) for p in trainer.denoiser.parameters()) ** 0.5
    assert norm <= trainer.MAX_GRADIENT_NORM * (1 + 1e-5)
    # The same gradient is longer where nothing clips it.
    trainer.MAX_GRADIENT_NORM = 1e9
    trainer.step(Batch(1e3 * rows()), 0.0)
    norm = sum(float(p.grad.square().sum()) for p in trainer.denoiser.parameters()) ** 0.5
    assert norm > 1


def test_a_compiled_denoiser_learns_the_same(monkeypatch):
    compiled = []

    def compile_eagerly(module):
        # Traced as for any backend, but run without a compiler, which a machine may lack.
        compiled.append(module)
        return original(module, backend="eager")

    original = torch.compile
    monkeypatch.setattr(torch, "compile", compile_eagerly)
    X = continuous()
    settings = {"validation_fraction": 0, "max_iter": 5, "learning_rate_init": 0.1}
    gen, plain = small(compile=True, **settings).fit(X), small(**settings).fit(X)
    assert len(compiled) == 1
    np.testing.assert_allclose(gen.loss_curve_, plain.loss_curve_, rtol=1e-4)
    untrained = small(max_iter=0).fit(X).weights_
    for name, w in plain.weights_.items():
        assert np.abs(w - untrained[name]).max() > 1e-3
        np.testing.assert_allclose(gen.weights_[name], w, rtol=0, atol=1e-4)


def test_bfloat16_that_a_card_emulates_is_not_fast(monkeypatch):
    asked = []

    def supported(including_emulation=True):
        asked.append(torch.device("cuda"))
        return including_emulation

    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert autocast_type("auto", torch.device("cuda")) is None and asked
    assert autocast_type("bf16", torch.device("cuda")) == torch.bfloat16


def test_training_sets_itself_by_the_number_of_rows():
    gen = GUDGenerator(max_iter=0).fit(continuous())
    for n, batch, decay, loss_normalization in [
        (50, 45, 0.1, 1.0), (1000, 225, 0.1, 1.0), (9999, 1024, 150 / 9000, 1.0),
        (10_000, 1024, 150 / 9000, 0.5), (20_000, 1024, 0.01, 0.5),
    ]:  # fmt: skip
        trainer = make_trainer(gen, gen.state_, n, 0)
        adamw, muon = (optimizer.param_groups[0] for optimizer in trainer._optimizers)
        assert (trainer.batch_size, trainer.loss_normalization) == (batch, loss_normalization)
        assert adamw["weight_decay"] == pytest.approx(decay)
        assert (adamw["lr"], muon["lr"]) == (4e-3, 1e-2)
    widths = [resolve_network("auto", n, (8, 8, 1)).width for n in (100, 5000, 100_000)]
    assert widths == [32, 48, 96]
