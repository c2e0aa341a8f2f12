"""A trainer of two correlated normal components, and rows for it."""

import torch

from gudlearn.conditioning.random_masks import RandomMasks
from gudlearn.diffusion.paths import WindowedGamma
from gudlearn.networks import MLP
from gudlearn.nn.denoiser import Denoiser
from gudlearn.preconditioning.marginals import GaussianMarginals
from gudlearn.training.trainer import Batch, Trainer
from gudlearn.training.validation import Validation

CORRELATION = 0.95


def toy_rows(n=256, seed=0):
    """Rows (n, 2) of unit variance and of the correlation above."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 2, generator=generator)
    return torch.stack([x[:, 0], CORRELATION * x[:, 0] + (1 - CORRELATION**2) ** 0.5 * x[:, 1]], 1)


def toy_trainer(loss="likelihood", optimizer="adamw", seed=0, highest=6.0):
    """A trainer whose untrained denoiser is that of two independent components.

    Its log-SNR goes from the highest to the opposite number.
    """
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)
        network = MLP(width=16, n_blocks=1).build(2, 1)
    denoiser = Denoiser(network, GaussianMarginals(torch.zeros(2), torch.ones(2)))
    path = WindowedGamma([-highest] * 2, [highest] * 2, 0.0, 1.0).to(dtype=torch.float32)
    return Trainer(
        denoiser,
        path,
        loss=loss,
        batch_size=64,
        learning_rate=5e-3,
        optimizer=optimizer,
        weight_decay=0.01,
        autocast=None,
        generator=torch.Generator().manual_seed(seed),
        masks=RandomMasks(torch.arange(2), (2,), 0.0, torch.zeros(2)),
    )


def toy_validation(n=256, **parameters):
    """Held-out rows that judge the trainer."""
    settings = {"n_times": 16, "constant": 0.0, "n_dimensions": 2, "seed": 3, **parameters}
    return Validation(toy_rows(n, seed=9), **settings)


class Source:
    """Rows for a trainer: the same in every epoch, or a function of the epoch's number."""

    imputed = False

    def __init__(self, x):
        self.of_epoch = x if callable(x) else lambda _: x
        self.n_epochs = 0

    def __len__(self):
        return len(self.of_epoch(0))

    def begin_epoch(self, draw):
        """Take the rows of the next epoch."""
        self.x = self.of_epoch(self.n_epochs)
        self.n_epochs += 1

    def take(self, index, generator):
        """A batch of some rows."""
        return Batch(self.x[index])
