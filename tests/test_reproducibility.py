"""The same seed gives the same result, whatever parts rows are scored in and wherever fits run."""

import joblib
import numpy as np
import pytest
from joblib.externals.loky import ProcessPoolExecutor

import gudlearn
from gudlearn import _random
from gudlearn.commands.main import main
from saved import mixed, one, outcome
from small import continuous, few_draws, random_images, tiny, whole


def assert_equal_outcomes(one, other):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


def test_fits_at_the_same_time_are_those_one_after_another():
    jobs = [joblib.delayed(outcome)(seed, _random.SALT) for seed in (3, 4)]
    found = joblib.Parallel(n_jobs=2, backend="threading")(jobs)
    for seed, parts in zip((3, 4), found, strict=True):
        assert_equal_outcomes(outcome(seed, _random.SALT), parts)
    assert not np.array_equal(found[0][0], found[1][0])


def test_a_fit_in_another_process_is_that_of_this_one():
    # One worker of loky, joblib's default backend: each takes seconds to import torch.
    with ProcessPoolExecutor(1) as workers:
        found = workers.submit(outcome, 3, _random.SALT).result()
    assert_equal_outcomes(outcome(3, _random.SALT), found)


CASES = {
    "numbers": (lambda: one(), lambda: continuous(100)),
    "reference set": (lambda: one(retrieval=20, conditional_rate=0.3), lambda: continuous(100)),
    "sequential": (lambda: one(schedule="sequential"), lambda: whole(100)),
    "mixed frame": (lambda: one(), lambda: mixed(24)),
    "images": (lambda: tiny(max_iter=1), lambda: random_images(10)),
}

# Nats; of float32 in the network, where scores have noise of a tenth of a nat.
ROUNDING = 1e-4


@pytest.mark.parametrize("name", CASES)
def test_scores_do_not_depend_on_the_rows_they_are_scored_with(name, monkeypatch):
    few_draws(monkeypatch)
    model, rows = CASES[name]
    X = rows()
    gen = model().fit(X)
    scores = gen.score_samples(X)
    n = 3
    for size in (1, 2):
        parts = [gen.score_samples(X[k : k + size]) for k in range(0, n, size)]
        # The order of sums in a product of matrices depends on their size: rounding, and no more.
        np.testing.assert_allclose(np.concatenate(parts)[:n], scores[:n], rtol=0, atol=ROUNDING)
    monkeypatch.setattr("gudlearn.model.fitted._SCORE_CHUNK", 48)
    monkeypatch.setattr("gudlearn.model.fitted._IMAGE_SCORE_CHUNK", 8)
    np.testing.assert_allclose(gen.score_samples(X), scores, rtol=0, atol=ROUNDING)


def test_samples_do_not_depend_on_how_many_are_drawn():
    gen = one().fit(continuous())
    many = gen.sample(300, random_state=5)
    np.testing.assert_array_equal(gen.sample(7, random_state=5), many[:7])


def test_the_version_is_told_on_the_command_line(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"gudlearn {gudlearn.__version__}\n"
