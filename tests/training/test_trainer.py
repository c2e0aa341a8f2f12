"""The steps of training: batches, losses of partial rows, gradients, averages."""

import pytest
import torch

from gudlearn import GUDGenerator
from gudlearn.conditioning.states import MISSING, OBSERVED, TARGET, MaskedPath
from gudlearn.model.device import to_arrays
from gudlearn.training.options import make_trainer
from gudlearn.training.trainer import LOSSES, Batch
from small import continuous
from toy import toy_rows, toy_trainer


@pytest.mark.parametrize("n_rows", [1, 5, 64, 100, 257])
def test_an_epoch_sees_every_row_equally_often(n_rows):
    index = toy_trainer().batches(n_rows)
    assert index.shape[1] == min(64, n_rows)
    assert index.min() >= 0 and index.max() < n_rows
    counts = torch.bincount(index.flatten(), minlength=n_rows)
    assert counts.max() - counts.min() <= 1
    # The number of batches is rounded: half a batch at most is left out or seen again.
    assert abs(index.numel() - n_rows) <= 32


def test_the_average_follows_the_weights():
    trainer = toy_trainer()
    expected = [p.detach().clone() for p in trainer.denoiser.parameters()]
    for k in range(5):
        trainer.step(Batch(toy_rows(64)), 1.0)
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
        weight = next(trainer.denoiser.parameters())

        def batch_loss(batch, imputed, weight=weight):
            # Short enough for nothing to be clipped.
            loss = 1e-3 * batch.x0.square().mean() * weight.sum()
            bins = torch.zeros(len(batch.x0), dtype=torch.long)
            return loss, loss.detach(), batch.x0[:, 0], bins

        trainer.batch_loss = batch_loss
        # Parts of 22, 21 and 21 rows.
        trainer.step(Batch(toy_rows(64)), 0.0)
        gradients.append(weight.grad.clone())
    torch.testing.assert_close(*gradients)


class FixedMasks:
    """The second of two components is in one state in all rows, and windows have one width."""

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
def test_partial_and_sequential_rows_weigh_as_loss_normalization_says(
    state, width, loss_normalization, loss
):
    trainer, batch = toy_trainer(loss), Batch(toy_rows(20_000))
    trainer.loss_normalization, trainer.masks = loss_normalization, FixedMasks(TARGET, 1.0)
    whole, mean_of_whole, _, _ = trainer.batch_loss(batch)
    trainer.masks = FixedMasks(state, width)
    loss, mean, _, _ = trainer.batch_loss(batch)
    fraction = (0.5 if state != TARGET else 1.0) * width
    # A component is worth the same nats in any state: the untrained denoiser uses no other. The
    # means of 20,000 rows have relative standard errors of 0.7 %.
    assert float(mean) == pytest.approx(float(mean_of_whole), rel=0.1)
    weight = fraction ** (1 - loss_normalization)
    assert float(loss.detach()) == pytest.approx(weight * float(whole.detach()), rel=0.1)


@pytest.mark.parametrize("missing", [False, True])
def test_every_row_is_seen_while_a_scored_component_is_active(missing, monkeypatch):
    at, densities, measure = [], [], LOSSES["likelihood"]

    def loss_at(denoise, path, x0, t, *others):
        at.append(t)
        return measure(denoise, path, x0, t, *others)

    monkeypatch.setitem(LOSSES, "likelihood", loss_at)
    trainer = toy_trainer()
    trainer.masks, sample = FixedMasks(TARGET, 0.1), trainer.times.sample

    def times(*args):
        found = sample(*args)
        densities.append(1 / found[1])
        return found

    trainer.times.update(torch.arange(32), torch.linspace(1, 9, 32))
    trainer.times.sample = times
    mask = torch.tensor([False, True]).expand(400, 2) if missing else None
    loss, _, terms, _ = trainer.batch_loss(Batch(toy_rows(400), missing=mask))
    # The first component is active before 0.1; the second, which may be missing, after 0.9.
    early, late = at[0] < 0.1, at[0] > 0.9
    assert (early if missing else early | late).all() and late.any() == (not missing)
    # The density of times is fitted to terms whose weighted mean is the loss.
    assert (terms > 0).all()
    torch.testing.assert_close((terms / densities[0]).mean() / 2, loss)


def test_a_step_depends_on_its_own_generator_alone():
    losses = []
    for _ in range(2):
        trainer = toy_trainer(seed=7)
        losses.append([float(trainer.step(Batch(toy_rows(64)), 1.0)) for _ in range(4)])
        torch.rand(3)
    assert losses[0] == losses[1]
    other = toy_trainer(seed=8)
    assert [float(other.step(Batch(toy_rows(64)), 1.0)) for _ in range(4)] != losses[0]


def test_scores_draw_times_where_the_correction_is_noisy():
    trainer = toy_trainer(highest=10.0)
    weights = trainer.time_weights(Batch(toy_rows(32)))
    assert (weights == 1).all() and weights.shape == (32,)
    for _ in range(100):
        trainer.step(Batch(toy_rows(256)), 1.0)
    weights = trainer.time_weights(Batch(toy_rows(256)))
    assert weights.shape == (32,) and (weights > 0).all()
    # Where all is noise, or nothing is, one component adds little information about the other.
    middle = weights[9:15].mean()
    assert middle > 1.5 * weights[:2].mean() and middle > 100 * weights[-4:].mean()


def gradient_norm(trainer):
    return sum(float(p.grad.square().sum()) for p in trainer.denoiser.parameters()) ** 0.5


def test_gradients_are_clipped():
    trainer = toy_trainer()
    trainer.step(Batch(1e3 * toy_rows()), 0.0)
    assert gradient_norm(trainer) <= trainer.MAX_GRADIENT_NORM * (1 + 1e-5)
    # The same gradient is longer where nothing clips it.
    trainer.MAX_GRADIENT_NORM = 1e9
    trainer.step(Batch(1e3 * toy_rows()), 0.0)
    assert gradient_norm(trainer) > 1


def test_weights_survive_as_arrays():
    state = toy_trainer().denoiser.network.state_dict()
    arrays = to_arrays(state)
    assert list(arrays) == list(state)
    assert all(torch.equal(torch.from_numpy(arrays[name]), state[name]) for name in state)
    # They are copies: training does not change them.
    state["last.bias"] += 1
    assert not arrays["last.bias"].any()


def test_settings_of_the_optimiser_follow_the_number_of_rows():
    gen = GUDGenerator(max_iter=0).fit(continuous())
    for n, batch, decay, loss_normalization in [
        (50, 45, 0.1, 1.0), (1000, 900, 0.1, 1.0), (9999, 1024, 150 / 9000, 1.0),
        (10_000, 1024, 150 / 9000, 0.5), (20_000, 1024, 0.01, 0.5),
    ]:  # fmt: skip
        trainer = make_trainer(gen, gen.state_, n, 0)
        adamw, muon = trainer._optimizers
        assert (trainer.batch_size, trainer.loss_normalization) == (batch, loss_normalization)
        assert adamw.weight_decay == muon.weight_decay == pytest.approx(decay)
        assert (adamw.learning_rate, muon.learning_rate) == (4e-3, 1e-2)
