"""What fits, samples and scores show with verbose, on a terminal and elsewhere."""

import itertools
import math
import re
from types import SimpleNamespace

import pytest

from gudlearn import GUDClassifier, GUDImputer, Training
from gudlearn.model.progress import Progress, duration
from gudlearn.training.loop import Budget, Log
from gudlearn.training.reports import Report
from small import continuous, few_draws, mixed_frame, small, tiny, with_missing


@pytest.fixture
def terminal(monkeypatch):
    """Standard output is a terminal of eighty columns."""
    stdout = SimpleNamespace(isatty=lambda: True)
    monkeypatch.setattr("gudlearn.model.progress.sys", SimpleNamespace(stdout=stdout))
    size = SimpleNamespace(columns=80)
    monkeypatch.setattr("gudlearn.model.progress.shutil.get_terminal_size", lambda: size)


def clock(monkeypatch, *steps):
    """Let time go by as given, and then by the last step, at each look at the clock."""
    now = itertools.accumulate(itertools.chain(steps, itertools.repeat(steps[-1])))
    fake = SimpleNamespace(monotonic=lambda: next(now))
    monkeypatch.setattr("gudlearn.model.progress.time", fake)


def shown(text):
    """The texts that a line on a terminal has held, and what stays in the end."""
    *lines, rest = text.split("\n")
    assert rest == ""
    return [part.rstrip() for part in lines[0].split("\r")[1:]], lines[1:]


@pytest.mark.parametrize("verbose", [1, 2])
def test_a_line_is_added_at_each_evaluation_outside_a_terminal(verbose, capsys):
    gen = small(max_iter=3, verbose=verbose).fit(continuous())
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(gen.validation_scores_) == 4
    for line, n, score in zip(lines, gen.validation_iters_, gen.validation_scores_, strict=True):
        assert line.startswith(f"epoch {n} of 3, ")
        assert f"held-out {-score / math.log(2):.4f} bits/dim" in line
        assert (f"loss {gen.loss_curve_[n - 1]:.4f}" in line) == (n > 0)
    assert lines[1].endswith(" left") and lines[3].endswith("bits/dim")


def test_one_line_is_rewritten_on_a_terminal(terminal, capsys):
    gen = small(max_iter=3, verbose=1).fit(continuous())
    texts, rest = shown(capsys.readouterr().out)
    assert rest == [] and len(texts) >= 4
    assert texts[-1].startswith("epoch 3 of 3, loss ") and len(gen.validation_scores_) == 4


def test_lines_are_added_on_a_terminal_with_two(terminal, capsys):
    small(max_iter=3, verbose=2).fit(continuous())
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 4 and "\r" not in out


def test_without_held_out_rows_the_loss_is_shown(capsys):
    small(max_iter=2, verbose=2, validation_fraction=0.0).fit(continuous())
    last = capsys.readouterr().out.splitlines()[-1]
    assert re.fullmatch(r"epoch 2 of 2, loss -?\d+\.\d{4}", last)


def test_a_time_limit_shows_seconds(capsys):
    small(max_iter=1, max_time=3600, verbose=2).fit(continuous())
    line = capsys.readouterr().out.splitlines()[0]
    assert re.match(r"epoch 0 of 1, \d+ s of 1:00:00 h, held-out", line)


def test_a_fit_that_goes_on_says_so(tmp_path, capsys):
    for _ in range(2):
        gen = small(max_iter=3, verbose=1, training=Training(tmp_path / "fit.ckpt"))
        gen.fit(continuous())
    assert capsys.readouterr().out.splitlines()[-1] == "goes on from a checkpoint after 3 epochs"


def test_the_time_left_is_that_of_the_part_that_was_done_here(monkeypatch, capsys):
    now = SimpleNamespace(value=100.0)
    fake = SimpleNamespace(monotonic=lambda: now.value)
    monkeypatch.setattr("gudlearn.training.reports.time", fake)
    report = Report(Budget(100, None), one_line=False)
    report.resume(60)
    now.value += 30
    report.evaluation(Log(losses=[1.5] * 70, validation_scores=[-math.log(2)]))
    # Ten epochs took 30 seconds, and there are 30.
    line = capsys.readouterr().out.splitlines()[-1]
    assert line == "epoch 70 of 100, loss 1.5000, held-out 1.0000 bits/dim, 1:30 min left"


def test_long_fits_show_progress_within_an_epoch(terminal, monkeypatch, capsys):
    clock(monkeypatch, 0.3)
    small(max_iter=2, batch_size=4, verbose=1).fit(continuous())
    texts, _ = shown(capsys.readouterr().out)
    assert any(text.startswith("epoch 0.333 of 2") for text in texts)


def test_an_interrupt_ends_the_line(terminal, monkeypatch, capsys):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("gudlearn.training.trainer.Trainer.step", stop)
    with pytest.warns(UserWarning, match="interrupted"), pytest.raises(KeyboardInterrupt):
        small(verbose=1).fit(continuous())
    assert capsys.readouterr().out.endswith("\n")


def test_nothing_is_printed_by_default(monkeypatch, capsys):
    clock(monkeypatch, 10.0)
    X = continuous()
    gen = small().fit(X)
    gen.sample(2)
    gen.score(X)
    assert capsys.readouterr() == ("", "")


# Samples and scores


def test_quick_samples_and_scores_are_silent(capsys):
    X = continuous()
    gen = small().fit(X).set_params(verbose=1)
    gen.sample(2)
    gen.score(X)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("conditions", [{}, {"where": {"a": (-1, 1)}}], ids=str)
def test_long_samples_show_how_far_they_are(conditions, monkeypatch, capsys):
    gen = small(conditional_rate=0.3).fit(mixed_frame()).set_params(verbose=1)
    clock(monkeypatch, 2.0)
    gen.sample(600, **conditions)
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"sampled \d+ of \d+ rows, 6 s, .* left", lines[0])
    # A line when the time has doubled.
    seconds = [int(re.search(r", (\d+) s, ", line)[1]) for line in lines]
    assert len(lines) >= 2 and all(b >= 2 * a for a, b in itertools.pairwise(seconds[:2]))


def test_long_scores_show_how_far_they_are(monkeypatch, capsys):
    few_draws(monkeypatch)
    X = continuous(300)
    gen = small(max_iter=0).fit(X).set_params(verbose=1)
    expected = gen.score_samples(X)
    capsys.readouterr()
    clock(monkeypatch, 3.0)
    assert (gen.score_samples(X) == expected).all()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "scored 256 of 300 rows, 6 s, 1 s left"


def test_a_part_of_a_chunk_counts(terminal, monkeypatch, capsys):
    gen = tiny(max_iter=0).fit(continuous(20, 36).reshape(20, 6, 6)).set_params(verbose=1)
    quiet = gen.sample(3)
    clock(monkeypatch, 6.0)
    assert (gen.sample(3) == quiet).all()
    texts, rest = shown(capsys.readouterr().out)
    assert rest == [] and texts[-1].startswith("sampled 3 of 3 rows, ")
    assert texts[-1].endswith(", 0 s left") and len(texts) > 3


def test_estimators_around_a_generator_pass_verbose_through(capsys):
    X, gen = continuous(), small(verbose=1)
    GUDImputer(gen).fit(with_missing(X))
    assert "epoch 2 of 2, loss " in capsys.readouterr().out
    GUDClassifier(gen).fit(X, [0, 1] * 20)
    assert "epoch 2 of 2, loss " in capsys.readouterr().out


def test_a_line_fits_on_the_terminal(terminal, monkeypatch, capsys):
    clock(monkeypatch, 6.0)
    with Progress("sampled" + "x" * 100, 10, 1) as progress:
        progress(5)
    (text,), _ = shown(capsys.readouterr().out)
    assert len(text) == 79


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1:00 min"), (3599, "59:59 min"), (3723, "1:02:03 h")],
)
def test_durations_are_texts(seconds, text):
    assert duration(seconds) == text
