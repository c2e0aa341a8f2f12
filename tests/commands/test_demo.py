"""The demo: the densities of its baselines, its table and its figures."""

import itertools

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.mixture import GaussianMixture

import gudlearn.commands.demo as command
from gudlearn.commands.main import main
from small import small


def digits_like(n_rows=60, n_columns=2, seed=0):
    rng = np.random.default_rng(seed)
    return np.clip(np.round(rng.normal(8, 2, size=(n_rows, n_columns))), 0, 16)


def test_the_probabilities_of_histograms_sum_to_one():
    histograms = command.Histograms(0.1).fit(digits_like())
    levels = range(command.N_LEVELS)
    every_row = np.array(list(itertools.product(levels, repeat=2)), dtype=float)
    np.testing.assert_allclose(np.exp(histograms.score_samples(every_row)).sum(), 1.0)


def test_smoothed_frequencies_have_their_closed_form():
    histograms = command.Histograms(0.5).fit(np.array([[3.0], [3.0], [4.0]]))
    expected = np.log(np.array([2.5, 1.5, 0.5]) / (3 + 0.5 * 17))
    np.testing.assert_allclose(histograms.score_samples(np.array([[3.0], [4.0], [0.0]])), expected)


def test_dequantized_density_integrates_to_one_in_the_units_of_the_rows():
    model = command.Dequantized(GaussianMixture(2, random_state=0), n_copies=1)
    model.fit(digits_like(n_rows=200))
    # Without the noise the score is the density at the point itself.
    model._noisy_copies = lambda X, seed: [X]

    grid = np.linspace(-4, 20, 241)
    points = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
    total = np.exp(model.score_samples(points)).sum() * (grid[1] - grid[0]) ** 2
    # The rectangle rule is exact to many digits for smooth functions that vanish at the border.
    np.testing.assert_allclose(total, 1.0, atol=1e-6)


def test_a_constant_column_has_the_likelihood_of_its_histogram():
    X = digits_like(n_rows=200)
    with_constant = np.column_stack([X, np.zeros(len(X))])
    scores = [
        command.make_mixture(("full", 1, 0.01)).fit(rows).score_samples(rows).mean()
        for rows in (X, with_constant)
    ]
    np.testing.assert_allclose(scores[1] - scores[0], np.log((200 + 1 / 17) / 201))


def test_the_choice_is_the_best_on_the_validation_split():
    X = digits_like(n_rows=100)
    stratify = np.arange(100) % 2
    best, candidate, seconds = command.fit_best(command.Histograms, (1e4, 0.1, 1e3), X, stratify)
    assert candidate == 0.1
    assert seconds > 0
    np.testing.assert_array_equal(
        best.log_probabilities_, command.Histograms(0.1).fit(X).log_probabilities_
    )


@pytest.mark.parametrize("seconds", ["0", "-1", "inf", "nan", "soon"])
def test_seconds_must_be_a_positive_number(seconds, capsys):
    assert main(["demo", "--seconds", seconds]) == 2
    assert "--seconds" in capsys.readouterr().err


def test_missing_packages_are_named(monkeypatch, capsys):
    monkeypatch.setattr(command, "find_spec", lambda name: None if name == "rich" else object())
    assert main(["demo"]) == 1
    assert "it needs rich. Install with: pip install 'gudlearn[plot]'" in capsys.readouterr().err


def test_the_demo_prints_a_table_and_writes_figures(tmp_path, monkeypatch, capsys):
    limits = []

    def generator(*, max_iter, max_time, **parameters):
        limits.append(max_time)
        return small(**parameters)

    def few_digits(return_X_y):
        X, y = load_digits(return_X_y=return_X_y)
        return X[:200], y[:200]

    monkeypatch.setattr(command, "GUDGenerator", generator)
    monkeypatch.setattr(command, "load_digits", few_digits)
    monkeypatch.setattr(command, "MIXTURES", (("diag", 2, 0.1),))
    monkeypatch.setattr(command, "BANDWIDTHS", (0.5,))
    assert main(["demo", "--output", str(tmp_path / "new"), "--seconds", "4"]) == 0
    assert limits == [4.0]
    printed = capsys.readouterr().out
    for model in ("gudlearn", "Gaussian mixture", "kernel density", "independent histograms"):
        (line,) = [line for line in printed.splitlines() if line.startswith(f"{model:<26}")]
        assert 0 < float(line.split(model)[1].split()[0]) < np.log2(17)
    for figure in ("digits.png", "schedule.png", "loss_curve.png"):
        path = tmp_path / "new" / figure
        assert path.read_bytes().startswith(b"\x89PNG")
        assert str(path) in printed
