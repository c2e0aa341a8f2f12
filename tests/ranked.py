"""A fit, samples and scores in one of several processes that were started together."""

import copy
import os
from contextlib import contextmanager

import numpy as np
import torch
import torch.distributed as dist

from gudlearn import MLP, DPMSolver, Training, _random
from gudlearn.training import parts
from small import continuous, small

N_SAMPLES, N_SCORED = 700, 300


@contextmanager
def launched(rank, size, port):
    """The environment of a process that torchrun has started."""
    before = dict(os.environ)
    os.environ.update({
        "TORCHELASTIC_RUN_ID": "test", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size),
        "LOCAL_WORLD_SIZE": str(size), "GROUP_RANK": "0",
    })  # fmt: skip
    try:
        yield
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
        os.environ.clear()
        os.environ.update(before)


def answers(gen):
    """Samples and scores of a fitted generator."""
    X = continuous(N_SCORED)
    return gen.sample(N_SAMPLES, random_state=7), gen.score_samples(X, n_draws=8)


def work_together(rank, size, port, salt):
    """What one of several processes has at the end."""
    _random.SALT = salt
    with launched(rank, size, port):
        # No seed: processes must agree on one.
        gen = small(
            network=MLP(width=16, n_blocks=1, dropout=0.1), random_state=None,
            training=Training(strategy="ddp"),
        ).fit(continuous(60))  # fmt: skip
        found = {"answers": answers(gen), "unseeded": gen.sample(300)}
        found["alone"] = gen.set_params(training="auto").sample(5, random_state=rank)
        gen.set_params(training=Training(strategy="ddp"))
        found["errors"] = errors(gen, rank)
        return gen.set_params(training="auto"), found


def errors(gen, rank):
    """Errors of calls that cannot be made together."""
    failing = parts.Together(Failing(rank), None)
    found = []
    for call in (
        lambda: gen.sample(300 + rank),
        # The same number of rows, and of the same seed.
        lambda: copy.copy(gen).set_params(sampler=DPMSolver(steps=2 + rank)).sample(300),
        lambda: gen.score_samples(continuous(300) + rank, n_draws=8),
        lambda: failing.run("sampled", ("sample", 2, 0), [tuple, tuple]),
    ):
        try:
            call()
        except (ValueError, RuntimeError, ArithmeticError) as error:
            found.append(error)
    return found


class Failing:
    """A model that fails in the second process."""

    def __init__(self, rank):
        self._rank = rank

    def sample(self):
        if self._rank:
            raise ArithmeticError("overflow")
        return np.zeros(1)


class Mortal(torch.nn.Module):
    """A network that ends any other process than that of its home."""

    def __init__(self, home, n_components, n_channels):
        super().__init__()
        self._home, self.layer = home, torch.nn.Linear(n_components, n_components)

    def forward(self, inputs, gamma):
        if os.getpid() != self._home:
            os._exit(7)
        return self.layer(gamma)
