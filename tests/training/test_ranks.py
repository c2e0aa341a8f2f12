"""Several processes train what one process trains with as many parts of a batch."""

import os
import threading

import numpy as np
import pytest
import torch

from gudlearn import MLP, GUDGenerator, Training
from gudlearn.data.rows import Rows
from gudlearn.training.checkpoints import Checkpoint
from gudlearn.training.fit import Fit, train_on_rank
from gudlearn.training.loop import Budget
from gudlearn.training.ranks import OneRank, is_first, joins, make_fabric, run_on_ranks
from gudlearn.training.trainer import Trainer
from small import continuous, small, with_missing

NETWORK = MLP(width=16, n_blocks=1, dropout=0.1)
LAUNCHED = {"WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}


class Threads:
    """Ranks that are threads, and meet at a barrier."""

    device = torch.device("cpu")

    def __init__(self, index, size, barrier, board):
        self.index, self.size, self._barrier, self._board = index, size, barrier, board

    def total(self, vector):
        self._board[self.index] = vector
        self._barrier.wait()
        total = sum(self._board[k] for k in range(self.size))
        self._barrier.wait()
        return total

    def agreed(self, value):
        if self.index == 0:
            self._board["first"] = value
        self._barrier.wait()
        value = self._board["first"]
        self._barrier.wait()
        return value


class Interrupted(BaseException):
    """Ends training in the middle."""


def on_threads(estimators, rows, size, max_time=None):
    """States that ranks end with, each with an estimator of its own."""
    barrier, board, states = threading.Barrier(size, timeout=60), {}, [None] * size

    def run(index):
        ranks, estimator = Threads(index, size, barrier, board), estimators[index]
        limits = (None if max_time else estimator.max_iter), max_time, 0.0
        try:
            seed = estimator.random_state
            states[index] = train_on_rank(ranks, estimator, rows, seed, False, limits)
        except Interrupted:
            pass

    threads = [threading.Thread(target=run, args=(k,)) for k in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return states


def untrained(X, **parameters):
    """A generator that is prepared for training, and not trained."""
    settings = {"network": NETWORK, "batch_size": 20, "max_iter": 3, **parameters}
    gen = small(**{**settings, "max_iter": 0}).fit(X)
    return gen.set_params(max_iter=settings["max_iter"])


@pytest.mark.parametrize(("size", "n_parts"), [(2, 1), (3, 1), (2, 2)])
def test_ranks_learn_what_one_process_learns_from_as_many_parts(size, n_parts):
    X = with_missing(continuous(62), 0.2)
    rows = Rows.of(X)
    alone = untrained(X, accumulation_steps=size * n_parts)
    expected = train_on_rank(Alone(), alone, rows, 0, False, (3, None, 0.0))
    estimators = [untrained(X, accumulation_steps=n_parts) for _ in range(size)]
    states = on_threads(estimators, rows, size)
    for state in states:
        assert state.history.losses == pytest.approx(expected.history.losses, rel=1e-5)
        for name, value in expected.weights.items():
            np.testing.assert_allclose(state.weights[name], value, rtol=0, atol=1e-5)
    # All ranks have the same weights, to the bit.
    for name, value in states[0].weights.items():
        np.testing.assert_array_equal(states[1].weights[name], value)
    # They learned something, and other parts are other noise.
    once = train_on_rank(Alone(), untrained(X), rows, 0, False, (3, None, 0.0))
    assert np.abs(once.history.losses[0] - expected.history.losses[0]) > 1e-4


def test_ranks_go_on_from_a_checkpoint_that_the_first_one_wrote(tmp_path, monkeypatch):
    X = with_missing(continuous(62), 0.2)
    rows, path = Rows.of(X), tmp_path / "fit.ckpt"
    training = Training(checkpoint=path)
    expected = on_threads([untrained(X) for _ in range(2)], rows, 2)[0]
    # A checkpoint after each step; both ranks end after five of nine steps.
    monkeypatch.setattr(Checkpoint, "due", lambda self: self.writes)
    step = Trainer.step

    def interrupted(self, *args):
        if self.steps == 5:
            raise Interrupted
        return step(self, *args)

    monkeypatch.setattr(Trainer, "step", interrupted)
    estimators = [untrained(X).set_params(training=training) for _ in range(2)]
    assert on_threads(estimators, rows, 2) == [None, None]
    assert [file.name for file in tmp_path.iterdir()] == ["fit.ckpt"]
    steps = []

    def counted(self, *args):
        steps.append(self.steps)
        return step(self, *args)

    monkeypatch.setattr(Trainer, "step", counted)
    for state in on_threads(estimators, rows, 2):
        for name, value in expected.weights.items():
            np.testing.assert_array_equal(state.weights[name], value)
        assert state.history.losses == expected.history.losses
    assert min(steps) == 5


class Alone(OneRank):
    device = torch.device("cpu")


def test_the_first_rank_says_when_the_time_is_over():
    board, barrier = {}, threading.Barrier(2, timeout=60)
    spent = {}

    def run(index):
        budget = Budget(None, 100.0, ranks=Threads(index, 2, barrier, board))
        budget.resume(25.0 + 50.0 * index)
        spent[index] = budget.spent(0)

    threads = [threading.Thread(target=run, args=(k,)) for k in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert spent[0] == spent[1] == pytest.approx(0.25, abs=0.2)


def test_a_fit_on_two_processes_is_that_of_one_with_two_parts():
    pytest.importorskip("lightning_fabric")
    X, environment = continuous(60), dict(os.environ)
    # Weights of more than 64 kB, which a pipe does not hold.
    network = MLP(width=128, n_blocks=1, dropout=0.1)
    settings = {"network": network, "batch_size": 20, "max_iter": 3}
    alone = small(**settings, accumulation_steps=2).fit(X)
    two = small(**settings, training=Training(devices=2)).fit(X)
    np.testing.assert_allclose(two.loss_curve_, alone.loss_curve_, rtol=1e-5)
    samples = alone.sample(20, random_state=1)
    np.testing.assert_allclose(two.sample(20, random_state=1), samples, rtol=0, atol=1e-3)
    assert dict(os.environ) == environment


class Fatal(torch.nn.Module):
    """A network that ends its process in training."""

    def __init__(self, n_components, n_channels):
        super().__init__()
        self.layer = torch.nn.Linear(n_components, n_components)

    def forward(self, inputs, gamma):
        if self.training:
            os._exit(7)
        return self.layer(gamma)


def test_a_process_that_dies_is_an_error():
    pytest.importorskip("lightning_fabric")
    gen = small(network=Fatal, training=Training(devices=2))
    with pytest.raises(RuntimeError, match="One of the 2 processes .* exit code 7"):
        gen.fit(continuous(60))


@pytest.mark.parametrize(
    ("training", "environment", "message"),
    [
        (Training(devices=10_000), {}, "devices=10000 is more than the .* cores of this machine"),
        (Training(strategy="ddp"), {}, "this one was started alone. Start them"),
        (Training(devices=1, strategy="ddp"), {"WORLD_SIZE": "1"}, "was started alone"),
    ],
)
def test_processes_that_are_not_there_are_refused(training, environment, message, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=message):
        small(training=training).fit(continuous(60))


def test_the_number_of_processes_is_that_of_torchrun(monkeypatch):
    pytest.importorskip("lightning_fabric")
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    for name, value in LAUNCHED.items():
        monkeypatch.setenv(name, value)
    cpu = torch.device("cpu")
    with pytest.raises(ValueError, match="devices=3, but 2 processes were started"):
        make_fabric(cpu, 3, "auto")
    # A fit that does not ask for it trains alone.
    assert make_fabric(cpu, 1, "auto") is None


def test_the_first_of_launched_processes_writes(monkeypatch):
    together, alone = Training(strategy="ddp"), Training()
    assert is_first(together) and is_first(alone)
    for name, value in {**LAUNCHED, "RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    assert not is_first(together) and not is_first(Training(devices=2)) and is_first(alone)
    assert is_first(Training(devices=2, strategy="ddp_spawn"))
    monkeypatch.setenv("RANK", "0")
    assert is_first(together)


def test_a_process_that_is_started_by_the_fit_is_so_also_under_slurm(monkeypatch):
    for name, value in LAUNCHED.items():
        monkeypatch.setenv(name, value)

    class Spawning:
        """A fabric that must be given a function."""

        world_size, global_rank, device = 1, 0, torch.device("cpu")

        def launch(self, function):
            function(self)

    assert not joins(Training(devices=2, strategy="ddp_spawn"))
    assert run_on_ranks(Spawning(), False, lambda ranks, x: (ranks.size, x), 5) == (1, 5)


def test_other_processes_open_a_checkpoint_when_a_seed_is_agreed_on(tmp_path, monkeypatch):
    for name, value in {**LAUNCHED, "RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    training = Training(checkpoint=tmp_path / "fit.ckpt", strategy="ddp")
    gen, rows = untrained(continuous(62), random_state=None), Rows.of(continuous(62))
    gen.set_params(training=training)
    first = Fit(gen, rows, 1, lambda state: None, False, True)
    first.checkpoint.begin()
    # It has drawn another seed than the first one, which writes.
    assert Fit(gen, rows, 2, lambda state: None, False).checkpoint is None
    with pytest.raises(ValueError, match="another fit"):
        Fit(gen, rows, 2, lambda state: None, False, False)


def test_the_parameters_of_the_user_stay():
    estimators = [untrained(continuous(62), verbose=1) for _ in range(2)]
    before = [gen.get_params(deep=False) for gen in estimators]
    on_threads(estimators, Rows.of(continuous(62)), 2)
    assert [gen.get_params(deep=False) for gen in estimators] == before


def test_ranks_that_drew_other_seeds_train_one_network():
    X = with_missing(continuous(62), 0.2)
    estimators = [untrained(X, random_state=seed) for seed in (0, 1)]
    first, second = on_threads(estimators, Rows.of(X), 2)
    for name, value in first.weights.items():
        np.testing.assert_array_equal(second.weights[name], value)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"devices": 0}, "devices=0 must be a whole number of at least 1"),
        ({"devices": 1.5}, "devices=1.5 must be a whole number"),
        ({"devices": True}, "devices=True must be a whole number"),
        ({"strategy": "fsdp"}, "strategy='fsdp' is not known. Known: 'auto', 'ddp'"),
    ],
)
def test_bad_devices_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        GUDGenerator(training=Training(**parameters)).fit(continuous())
