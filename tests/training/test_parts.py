"""Samples and scores of several processes are those of one, to the bit."""

import os
import socket
from functools import partial

import joblib
import numpy as np
import pandas as pd
import pytest
import torch

from gudlearn import DPMSolver, GUDImputer, Training, _random
from gudlearn.conditioning.conditions import Completion
from gudlearn.data.rows import Rows
from gudlearn.model import divided
from gudlearn.model.accepted import Candidates
from gudlearn.model.divided import fingerprint
from gudlearn.model.fitted import FittedModel
from gudlearn.training import parts
from ranked import Mortal, answers, work_together
from saved import mixed
from small import continuous, few_draws, random_images, small, tiny, with_missing

TWO = Training(devices=2)


@pytest.fixture
def n_parts(monkeypatch):
    """Numbers of parts of the calls that were divided; few rows are, too."""
    found, run = [], divided.Workers.run

    def counted(self, verb, asked, calls):
        found.append(len(calls))
        return run(self, verb, asked, calls)

    monkeypatch.setattr(divided.Workers, "run", counted)
    monkeypatch.setattr(divided, "_LEAST", 2)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    return found


def assert_same(one, other):
    for a, b in zip(one, other, strict=True):
        assert type(a) is type(b)
        if isinstance(a, pd.DataFrame):
            pd.testing.assert_frame_equal(a, b, check_exact=True)
        else:
            np.testing.assert_array_equal(a, b)


def in_this_process(monkeypatch):
    """Context in which workers are this process, with a model that was shipped to it."""
    monkeypatch.setattr(divided, "is_in_worker", lambda: False)
    return joblib.parallel_config("sequential")


def partly(X):
    """Rows of a frame with unknown values, other ones in each row."""
    hidden = np.random.default_rng(0).random(X.shape) < 0.5
    return X.mask(hidden)


def of_table(gen):
    X = continuous(40)
    holes = with_missing(X)
    return (
        gen.sample(50), *gen.iter_sample(50, block_size=20), gen.sample(50, y=1),
        gen.sample(50, where={"x0": (0.0, None)}), gen.sample_trajectory(20, 3).noisy,
        gen.sample(2, given=holes), gen.conditional_mean(holes[:20], n_samples=2),
        *gen.score_samples(X, X[:, 0] > 0, return_std=True), gen.score_components(X),
        gen.score_columns(X, groups=[[0], [1, 2]]),
        gen.set_params(likelihood="flow").score_samples(X[:20]),
    )  # fmt: skip


def of_frame(gen):
    X = partly(mixed(40))
    return (
        gen.sample(50), gen.sample(2, given=X), gen.sample(9, where={"city": ["a", "b"]}),
        gen.conditional_proba(X, "city", n_samples=2),
        gen.score_samples(X, given_columns=["age"]),
    )  # fmt: skip


def of_images(gen):
    X = random_images(6)
    holes = X.astype(float)
    holes[:, 2:] = np.nan
    return gen.sample(6), gen.sample(given=holes), gen.score_samples(X)


CASES = {
    "table": (
        lambda: small(class_conditional=True, conditional_rate=0.3),
        lambda: continuous(60), of_table, 12,
    ),
    "reference set": (
        lambda: small(conditional_rate=0.3, retrieval=60), lambda: continuous(60),
        lambda gen: [gen.score_samples_leave_one_out(continuous(40))], 1,
    ),
    "mixed frame": (lambda: small(conditional_rate=0.3), mixed, of_frame, 5),
    "images": (
        lambda: tiny(max_iter=1, conditional_rate=0.3), lambda: random_images(20), of_images, 3
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore:Fewer than:UserWarning")
def test_parts_are_those_of_one_process(name, n_parts, monkeypatch):
    few_draws(monkeypatch, 4)
    monkeypatch.setattr("gudlearn.model.fitted._FLOW_STEPS", 2)
    for size in ("_SAMPLE_CHUNK", "_IMAGE_CHUNK", "_SCORE_CHUNK", "_IMAGE_SCORE_CHUNK"):
        monkeypatch.setattr(f"gudlearn.model.fitted.{size}", 4 if "IMAGE" in size else 16)
    model, rows, compute, least = CASES[name]
    X = rows()
    gen = model().fit(X, (X[:, 0] > 0).astype(int) if name == "table" else None)
    expected = compute(gen)
    assert not n_parts
    gen.set_params(training=TWO, likelihood="bound")
    with in_this_process(monkeypatch):
        assert_same(compute(gen), expected)
    assert len(n_parts) >= least and min(n_parts) > 1


def test_worker_processes_draw_and_score_what_one_process_does(n_parts):
    gen, images = small(conditional_rate=0.3).fit(mixed()), random_images(40)
    pictures = tiny(max_iter=1).fit(images)
    given = partly(mixed(300))

    def found(training):
        gen.set_params(training=training)
        pictures.set_params(training=training)
        return (
            gen.sample(2, given=given), gen.score_samples(given, n_draws=8),
            pictures.sample(70), pictures.score_samples(images, n_draws=4),
        )  # fmt: skip

    assert_same(found(TWO), found("auto"))
    assert n_parts == [3, 3, 2, 3]
    assert_launched_processes_work_together()
    assert_a_worker_that_dies_is_an_error()


def two_ranks():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = (joblib.delayed(work_together)(k, 2, port, _random.SALT) for k in range(2))
    return joblib.Parallel(n_jobs=2)(ranks)


def assert_launched_processes_work_together():
    pytest.importorskip("lightning_fabric")
    try:
        (gen, first), (_, second) = two_ranks()
    except RuntimeError as error:
        # Another process may have taken the port meanwhile.
        if "EADDRINUSE" not in str(error):
            raise
        (gen, first), (_, second) = two_ranks()
    assert_same(first["answers"], second["answers"])
    # The same as those of this process alone.
    assert_same(answers(gen), first["answers"])
    assert_same([first["unseeded"]], [second["unseeded"]])
    assert (first["alone"] != second["alone"]).any()
    for k, found in enumerate((first, second)):
        *others, failed = found["errors"]
        assert "301" in str(others[0]) and len(others) == 3
        for other in others:
            assert isinstance(other, ValueError) and "must make the same calls" in str(other)
        if k == 1:
            assert isinstance(failed, ArithmeticError)
        else:
            assert "Process 1 of 2 failed with its part of 2 rows: Arithmetic" in str(failed)


def assert_a_worker_that_dies_is_an_error():
    gen = small(network=partial(Mortal, os.getpid())).fit(continuous()).set_params(training=TWO)
    with pytest.raises(RuntimeError, match="One of 2 processes that divided 600 rows died"):
        gen.sample(600)


def test_what_results_depend_on_has_a_fingerprint_of_its_own():
    def asked(seed=0, steps=2, labels=(0, 1), shift=0.0, method="exact"):
        rows = Rows.of(with_missing(continuous(20)) + shift)
        condition = Candidates(np.arange(3), 1, Completion(rows, method))
        return fingerprint((seed, DPMSolver(steps=steps), torch.tensor(labels), condition))

    assert asked() == asked()
    others = {"seed": 1, "steps": 3, "labels": (1, 1), "shift": 1.0, "method": "repaint"}
    found = {asked(**{name: value}) for name, value in others.items()}
    assert len(found | {asked()}) == 6


def test_processes_that_do_not_come_are_an_error(monkeypatch):
    def new_group(backend, timeout):
        assert timeout == parts._ARRIVAL
        raise RuntimeError("Wait timeout")

    monkeypatch.setattr(parts.dist, "new_group", new_group)
    monkeypatch.setattr(parts.dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(parts.dist, "get_rank", lambda: 0)
    with pytest.raises(RuntimeError, match="Some of 2 .* did not ask for the samples or scores"):
        parts.Together(None, None)


def test_an_imputer_draws_by_the_seed_that_processes_agreed_on(monkeypatch):
    X = with_missing(continuous(40))
    first, second = (
        GUDImputer(small(max_iter=0), strategy="sample", random_state=k).fit(X) for k in (0, 1)
    )
    second.generator_ = first.generator_
    assert (first.transform(X) != second.transform(X)).any()
    monkeypatch.setattr(FittedModel, "agreed", lambda self, seed: 5)
    np.testing.assert_array_equal(first.transform(X), second.transform(X))


def test_few_rows_are_computed_in_this_process(monkeypatch):
    monkeypatch.setattr(divided.Workers, "run", None)
    gen = small(max_iter=0).fit(continuous()).set_params(training=TWO)
    assert gen.sample(600).shape == (600, 3)
    monkeypatch.setattr(divided, "_LEAST", 2)
    # A worker of joblib has no workers of its own.
    with joblib.parallel_config("threading"):
        assert gen.sample(600).shape == (600, 3)
    # A model that torchrun has trained is now in a process alone.
    gen.set_params(training=Training(strategy="ddp"))
    assert gen.sample(600).shape == (600, 3)


def test_not_more_workers_than_there_are_cores(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    monkeypatch.setattr(divided, "_LEAST", 2)
    monkeypatch.setattr(divided.Workers, "run", None)
    gen = small(max_iter=0).fit(continuous()).set_params(training=Training(devices=64))
    assert gen.sample(600).shape == (600, 3)


def test_bad_devices_are_refused_after_fit():
    gen = small(max_iter=0).fit(continuous())
    for name, value in {"devices": 0, "strategy": "fsdp"}.items():
        gen.set_params(training=Training(**{name: value}))
        with pytest.raises(ValueError, match=f"{name}={value!r}"):
            gen.sample(3)


def test_progress_of_parts_is_shown(n_parts, monkeypatch, capsys):
    monkeypatch.setattr("gudlearn.model.progress._PATIENCE", 0.0)
    gen = small(max_iter=0).fit(continuous()).set_params(training=TWO, verbose=1)
    with in_this_process(monkeypatch):
        gen.sample(600)
    out = capsys.readouterr().out
    assert "sampled 200 of 600 rows" in out
