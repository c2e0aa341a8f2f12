"""The benchmark scripts run, on few rows and for few seconds."""

import importlib
import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import t as student
from threadpoolctl import threadpool_limits

from gudlearn import GUDGenerator, UNet, WaveletBasis
from small import few_draws, small

BENCHMARKS = Path(__file__).parents[1] / "examples" / "benchmarks"


def test_the_density_benchmark_resumes_and_reports(tmp_path, monkeypatch, capsys):
    out = tmp_path / "results.jsonl"
    command = [
        sys.executable, BENCHMARKS / "density.py", "--out", out, "--sets", "digits",
        "--rows", "120", "--seconds", "1", "--seeds", "0",
        "--methods", "gudlearn", "kde", "marginals",
    ]  # fmt: skip
    first = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["method"] for line in lines] == ["gudlearn", "kde", "marginals"]
    assert "**digits, 1 s** (discrete; " in first.stdout
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.setattr(sys, "argv", [str(part) for part in command[1:]])
    importlib.import_module("density").main()
    assert len(out.read_text().splitlines()) == 3
    assert capsys.readouterr().out.strip() in first.stdout


def test_steps_are_compared_with_a_bare_loop(monkeypatch, capsys):
    monkeypatch.syspath_prepend(BENCHMARKS)
    overhead = importlib.import_module("overhead")
    X = np.random.default_rng(0).normal(size=(40, 3))
    overhead.compare_steps(small(max_iter=1), X, 1, SimpleNamespace(blocks=1))
    assert "training step, batch 36, muon, MLP(" in capsys.readouterr().out


TABLES = """
import numpy as np
import pandas as pd

def table(name):
    draw = np.random.default_rng(0)
    x = draw.normal(size=(300, 3))
    words = np.where(x[:, :2] + draw.normal(size=(300, 2)) > 0, "high", "low")
    frame = pd.DataFrame({"x": x[:, 0], "a": words[:, 0], "b": words[:, 1], "split": "train"})
    frame["a"] = frame["a"].where(draw.random(300) > 0.1)
    return frame, {"categorical": ["a", "b", "split"], "target": "b"}

def binary(name):
    rows = np.random.default_rng(0).integers(0, 2, (300, 4)).astype(np.uint8)
    return {"train": rows[:150], "valid": rows[150:200], "test": rows[200:]}

def anomaly(name):
    draw = np.random.default_rng(0)
    return draw.normal(size=(300, 2)), (draw.random(300) < 0.1).astype(int)

def regression(name):
    draw = np.random.default_rng(0)
    X = draw.normal(size=(300, 2))
    return X, X[:, 0] + 0.5 * draw.normal(size=300), [np.arange(60)]
"""


@pytest.fixture
def tables_benchmark(tmp_path, monkeypatch):
    """The script and a folder for it."""
    (tmp_path / "load.py").write_text(TABLES)
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.delitem(sys.modules, "load", raising=False)
    yield importlib.import_module("tables"), tmp_path
    sys.modules.pop("load", None)
    sys.path[:] = [folder for folder in sys.path if folder != str(tmp_path)]


def test_the_benchmark_of_tables_runs_every_part_once(tables_benchmark, monkeypatch, capsys):
    script, folder = tables_benchmark
    few_draws(monkeypatch)
    monkeypatch.setattr(script, "GUDGenerator", small)
    monkeypatch.setattr(script, "fit", lambda train, seconds, seed, **schema: small().fit(train))
    monkeypatch.setattr(script, "SMOKE", {**script.SMOKE, "rows": 200, "seconds": [1.0]})
    argv = ["--data", str(folder), "--smoke", "--out", str(folder / "results.jsonl")]
    argv += ["--tables", "adult", "nltcs", "glass", "made", "--only", *script.PARTS]
    assert script.main(argv) == 0
    lines = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    found = {(line["part"], line["method"]): line for line in lines}
    assert len(found) == 12 and {part for part, _ in found} == set(script.PARTS)
    # Columns of 1, of about 1.37 (a tenth is missing) and of 0 bits, nearly independent; 40 rows.
    assert 0.65 < found["categories", "Chow-Liu"]["bits"] < 0.95
    # Four fair coins.
    assert found["binary", "gudlearn"]["nats"] == pytest.approx(4 * np.log(0.5), rel=0.2)
    # The entropy of a normal is 2.05 bits; 36 rows have a standard error of 0.1.
    for method in ("gudlearn", "GaussianMixture"):
        assert 1.5 < found["anomaly", method]["bits"] < 3.0
    first = capsys.readouterr().out
    assert "| adult | " in first and "gudlearn is better on" in first
    assert script.main(argv) == 0
    assert capsys.readouterr().out.strip() == first[first.index("\n**c2st") :].strip()


def test_the_benchmark_of_predictions_runs_and_resumes(tables_benchmark, monkeypatch, capsys):
    _, folder = tables_benchmark
    script = importlib.import_module("prediction")
    argv = ["--data", str(folder), "--smoke", "--out", str(folder / "predictions.jsonl")]
    argv += ["--sets", "adult", "concrete"]
    for kind in ("GUDClassifier", "GUDRegressor"):
        tiny = partial(getattr(script, kind), small(max_iter=20))
        monkeypatch.setattr(script, kind, tiny)
    assert script.main(argv) == 0
    lines = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    found = {(line["set"], line["method"]): line for line in lines}
    assert len(found) == 4
    for method in ("gudlearn", "boosting"):
        # The features say little about the class, and four fifths of the variance of y.
        assert 0.2 < found["adult", method]["accuracy"] < 0.95
        assert 0.4 < found["concrete", method]["nll"] < 1.8
        assert found["concrete", method]["coverage"] > 0.5
    first = capsys.readouterr().out
    assert script.main(argv) == 0
    assert capsys.readouterr().out.strip() == first[first.index("\nclassify") :].strip()


def test_the_benchmark_of_outliers_resumes_and_reports(tables_benchmark, capsys):
    _, folder = tables_benchmark
    script = importlib.import_module("outliers")
    out = folder / "results.jsonl"
    sets = ["glass", "breastw", "sklearn:wine"]
    argv = ["--data", str(folder), "--smoke", "--sets", *sets, "--out", str(out)]
    assert script.main(argv) == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(lines) == 2 * 3 * len(script.DEFAULT)
    assert all(0 < line["auc"] < 1 for line in lines)
    first = capsys.readouterr().out
    assert "unsupervised, of these others (1):" in first and "mean rank" in first
    assert script.main(argv) == 0
    assert capsys.readouterr().out.strip() == first[first.index("\n**semi") :].strip()
    assert len(out.read_text().splitlines()) == len(lines)


def test_rivals_of_the_outlier_benchmark_rank_a_far_row_last(tables_benchmark):
    script = importlib.import_module("outliers")
    train = np.random.default_rng(0).normal(size=(200, 3))
    far = np.array([[9.0, -9.0, 9.0]])
    test, contaminated = np.vstack([train[:20] / 2, far]), np.vstack([train, far])
    for name in script.DEFAULT:
        assert script.METHODS[name](train, test, False, 0).argmin() == 20, name
        assert script.METHODS[name](contaminated, contaminated, True, 0).argmin() == 200, name


def test_the_benchmark_of_scores_runs_and_resumes(tables_benchmark, capsys):
    _, folder = tables_benchmark
    script = importlib.import_module("scores")
    argv = ["--rows", "60", "--scored", "10", "--epochs", "2", "--out", str(folder / "s.jsonl")]
    assert script.main(argv) == 0
    lines = [json.loads(line) for line in (folder / "s.jsonl").read_text().splitlines()]
    assert [line["n_draws"] for line in lines] == list(script.DRAWS)
    errors = {line["n_draws"]: line["error_of_a_row"] for line in lines}
    # Zero where two epochs have not improved the closed form.
    assert errors[1024] <= errors["coarse"]
    first = capsys.readouterr().out
    assert script.main(argv) == 0
    assert capsys.readouterr().out == first


def test_a_chow_liu_tree_of_a_chain_has_its_likelihood(tables_benchmark):
    mixed = importlib.import_module("_mixed")
    rng = np.random.default_rng(0)
    chain = [rng.integers(0, 3, 8000)]
    for _ in range(3):
        chain.append(np.where(rng.random(8000) < 0.7, chain[-1], rng.integers(0, 3, 8000)))
    frame = pd.DataFrame(np.stack(chain, 1)[:, [2, 0, 3, 1]]).astype(str)
    stays = 0.7 + 0.1
    entropy = np.log(3) - 3 * (stays * np.log(stays) + 0.2 * np.log(0.1))
    # A row's log-likelihood has a standard deviation of about 1.5 nats.
    score = mixed.chow_liu(frame[:6000], frame[6000:], 0)
    assert score == pytest.approx(-entropy, abs=5 * 1.5 / np.sqrt(2000))


def test_a_shallow_mixture_keeps_values_and_dependences(tables_benchmark):
    mixed = importlib.import_module("_mixed")
    rng = np.random.default_rng(0)
    x = np.round(np.where(rng.random(2000) < 0.3, 0.0, rng.normal(size=2000) + 9), 2)
    train = pd.DataFrame({"x": x, "word": np.where(x == 0, "none", "some")})
    fake = mixed.shallow_mixture(train, ["word"], 5.0, 1000, 0)
    assert fake["x"].isin(train["x"]).all()
    assert ((fake["x"] == 0) == (fake["word"] == "none")).mean() > 0.95
    assert (fake["x"] == 0).mean() == pytest.approx(0.3, abs=5 * np.sqrt(0.21 / 1000) + 0.05)


LOADER = """
import numpy as np

def cifar10(split):
    draw = np.random.default_rng(split == "test")
    return draw.integers(0, 256, (40, 8, 8, 3), dtype=np.uint8), np.zeros(40, dtype=int)
"""


@pytest.fixture
def images_benchmark(monkeypatch):
    """The modules of the image benchmark."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    names = {"script": "cifar10", "parts": "_images"}
    return SimpleNamespace(**{k: importlib.import_module(name) for k, name in names.items()})


def test_the_image_benchmark_runs_once(tmp_path, images_benchmark, capsys):
    (tmp_path / "load.py").write_text(LOADER)
    out = tmp_path / "results.jsonl"
    command = [
        sys.executable, BENCHMARKS / "cifar10.py", "--data", tmp_path, "--out", out,
        "--minutes", "0.05", "--basis", "haar3", "--softness", "columns", "--network", "unet:8:1",
        "--steps", "4", "--n-test", "8", "--n-choice", "2", "--n-generate", "4",
        "--pictures", tmp_path / "pictures", "--resume",
    ]  # fmt: skip
    subprocess.run(command, capture_output=True, text=True, check=True)
    result = json.loads(out.read_text())
    assert result["n_train"] == 36
    assert 6 < result["bits_per_dim"] < 9
    # Batches of 32 of the 36 images.
    assert result["images_seen"] == 32 * result["steps"]
    assert len(result["validation_bits"]) == len(result["validation_iters"]) >= 1
    assert list((tmp_path / "pictures").glob("cifar10-haar3-columns-*.png"))
    assert not list(tmp_path.glob("*.joblib"))
    images_benchmark.script.main([str(part) for part in command[2:]])
    assert "already" in capsys.readouterr().out
    assert len(out.read_text().splitlines()) == 1


@pytest.mark.parametrize("shape, channels", [((16, 24), 3), ((28, 28), 1), ((9, 21), 1)])
def test_haar_coefficients_lie_in_their_coarse_columns(images_benchmark, shape, channels):
    n_features = shape[0] * shape[1] * channels
    basis = WaveletBasis(shape, levels=3, channels=channels, joint_channels=channels > 1)
    basis.fit(np.random.default_rng(0).normal(size=(9, n_features)))
    images = basis.inverse_transform(np.eye(n_features)) - basis.mean_
    touched = (np.abs(images) > 1e-12).reshape(-1, *shape, channels).any((1, 3))
    columns = images_benchmark.parts.column_order("haar3", (*shape, channels))
    assert set(columns) == set(range(-(-shape[1] // 8)))
    for column, pixels in zip(columns, touched, strict=True):
        assert set(np.flatnonzero(pixels) // 8) == {column}


def test_pixels_lie_in_their_columns(images_benchmark):
    columns = np.broadcast_to(np.arange(5)[:, None], (4, 5, 3))
    found = images_benchmark.parts.column_order("identity", (4, 5, 3))
    np.testing.assert_array_equal(found, columns.ravel())


@pytest.mark.parametrize("basis", ["auto", "pca", "fourier", "haar"])
def test_columns_are_refused_for_components_that_lie_in_none(images_benchmark, basis, capsys):
    options = ["--data", "DIR", "--softness", "columns", "--basis", basis]
    with pytest.raises(SystemExit):
        images_benchmark.script.main(options)
    assert "Pass --basis identity or haar3" in capsys.readouterr().err


def test_an_interrupted_fit_goes_on(images_benchmark, tmp_path, monkeypatch):
    parts, path = images_benchmark.parts, tmp_path / "fit.joblib"
    X = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8)
    write = parts.Checkpoint.write

    def generator():
        return GUDGenerator(network=UNet(width=8, n_blocks=1), batch_size=18, random_state=0)

    def interrupted(n_epochs):
        def write_and_stop(checkpoint, fitted):
            write(checkpoint, fitted)
            if fitted.n_iter_ == n_epochs:
                raise KeyboardInterrupt

        monkeypatch.setattr(parts.Checkpoint, "write", write_and_stop)
        with pytest.raises(KeyboardInterrupt):
            parts.fit(generator(), X, 60.0, path, every=0.0)
        return joblib.load(path)

    first, second = interrupted(2), interrupted(3)
    assert [progress["starts"] for progress in (first, second)] == [1, 2]
    # 36 training images, 18 in each step.
    assert [progress["steps"] for progress in (first, second)] == [4, 6]
    assert second["seconds"] > first["seconds"] > 0
    earlier, later = first["generator"], second["generator"]
    assert len(later.validation_scores_) == len(later.validation_iters_)
    n_scores = len(earlier.validation_scores_)
    assert later.validation_scores_[:n_scores] == earlier.validation_scores_
    assert later.validation_iters_[0] == 0 and 2 in later.validation_iters_
    assert len(later.loss_curve_) == 3
    # When no time is left, the saved model comes back.
    spent = parts.fit(generator(), X, second["seconds"], path)
    assert spent["steps"] == 6 and spent["generator"].n_iter_ == 3
    for name, weights in spent["generator"].weights_.items():
        np.testing.assert_array_equal(weights, later.weights_[name])
    assert np.isfinite(spent["generator"].score(X[:2]))


def test_the_table_skips_runs_that_the_file_has(images_benchmark, tmp_path, monkeypatch):
    script, commands, out = images_benchmark.script, [], tmp_path / "results.jsonl"

    def record(command):
        commands.append(command[2:])
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(script.subprocess, "run", record)
    argv = ["--data", "DIR", "--table", "--minutes", "2", "--out", str(out)]
    assert script.main(argv) == 0
    settings = [script.settings_of(script.arguments(command)) for command in commands]
    assert len({json.dumps(s) for s in settings}) == 2 * len(script.TABLE) == 36
    assert not any(script.arguments(command).table for command in commands)
    out.write_text("\n".join(json.dumps({"settings": s}) for s in settings[:30]))
    commands.clear()
    script.main(argv)
    assert len(commands) == 6


def test_the_table_has_errors_over_seeds(images_benchmark, tmp_path, capsys):
    script, out = images_benchmark.script, tmp_path / "results.jsonl"
    common = {
        "standard_error": 0.02, "n_parameters": 10, "n_iter": 2, "images_seen": 5,
        "fit_seconds": 1.0, "score_seconds": 2.0, "peak_rss_mb": 3, "machine": "M", "date": "D",
    }  # fmt: skip
    options = script.arguments(["--data", "DIR"])
    lines = []
    for basis, softness, seed, bits in [
        ("pca", "inf", 0, 3.0), ("pca", "inf", 1, 3.2), ("identity", "0.5", 0, 4.0)
    ]:  # fmt: skip
        settings = script.settings_of(options, basis=basis, softness=softness, seed=seed)
        lines.append(json.dumps({"settings": settings, "bits_per_dim": bits, **common}))
    out.write_text("\n".join(lines))
    script.main(["--print", "--out", str(out)])
    printed = capsys.readouterr().out
    assert "| basis | a = 0 | a = 2 |" in printed
    assert "| pca | 3.1000 ± 0.1000 |  |" in printed
    assert "| identity |  | 4.0000 (1 seed) |" in printed


def test_the_gpu_script_says_that_there_is_no_device(monkeypatch, capsys):
    monkeypatch.syspath_prepend(BENCHMARKS)
    gpu = importlib.import_module("gpu")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert gpu.main([]) == 0
    assert capsys.readouterr().out == "no CUDA device\n"


def test_the_gpu_script_runs_on_the_cpu(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(BENCHMARKS)
    gpu, out = importlib.import_module("gpu"), tmp_path / "gpu.jsonl"
    command = ["--device", "cpu", "--quick", "--out", str(out), "--only"]
    assert gpu.main([*command, "parity", "steps", "memory"]) == 0
    found = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["part"] for line in found] == ["parity"] * 2 + ["steps"]
    assert all(line["difference"] == 0 for line in found[:2])
    assert found[2]["ratio"] > 0 and found[2]["sampled_per_second"] > 0
    # A difference beyond the limit is a failure.
    monkeypatch.setattr(gpu, "PARITY", -1.0)
    assert gpu.main([*command, "parity"]) == 1


def test_imputations_are_pooled_by_rubins_rules(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    pooled = importlib.import_module("multiple_imputation").pooled
    found = [(np.array([b]), np.array([1.0])) for b in (1.0, 2.0, 3.0)]
    estimate, half = pooled(found, 100)
    # Variances 1 within and 1 between, so 7/3 in all, 4/7 of it for what is missing; degrees of
    # freedom 2 (7/4)^2 of the imputations and 98/100 97 (3/7) of the rows.
    freedom = 1 / (1 / 6.125 + 1 / (0.98 * 97 * 3 / 7))
    np.testing.assert_allclose(estimate, 2.0)
    np.testing.assert_allclose(half, student.ppf(0.95, freedom) * np.sqrt(7 / 3))
    # Equal estimates are one estimate.
    same, one = pooled(found[:1] * 3, 100), pooled(found[:1], 100)
    np.testing.assert_allclose(same, one, rtol=0.01)


def test_the_benchmark_of_multiple_imputation_goes_on(monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(BENCHMARKS)
    script, out = importlib.import_module("multiple_imputation"), tmp_path / "results.jsonl"
    command = ["script", "--rows", "60", "--imputations", "2", "--max-iter", "1", "--out", str(out)]
    for repeats in ("1", "2", "2"):
        monkeypatch.setattr(sys, "argv", [*command, "--repeats", repeats])
        script.main()
        assert len(out.read_text().splitlines()) == int(repeats)
    assert "2 repeats; the standard error of a coverage is 0.212" in capsys.readouterr().out


def test_the_benchmark_of_patterns_hides_what_it_says(monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(BENCHMARKS)
    script, out = importlib.import_module("imputation_patterns"), tmp_path / "results.jsonl"
    X, rng = np.random.default_rng(0).normal(size=(4000, 6)), np.random.default_rng(1)
    driven = script.driven(X, rng).mean(0)
    # Five standard errors of a share of 4000.
    assert sorted(driven)[0] == 0 and np.abs(np.sort(driven)[1:] - 0.3).max() < 0.04
    spans = script.spans(X, rng)
    assert set(spans.sum(1)) == {0, 2} and abs(spans.any(1).mean() - 1 / 3) < 0.04
    assert abs(script.cells(X, rng).mean() - 0.15) < 0.02
    command = ["script", "--sets", "breast_cancer", "--rows", "40", "--patterns", "cells", "spans"]
    command += ["--methods", "BayesianRidge", "KNN", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", command)
    for _ in range(2):
        script.main()
        assert len(out.read_text().splitlines()) == 4
    assert "2 sets and patterns" in capsys.readouterr().out
    # The default imputer is the one that is judged.
    assert type(script.by_gudlearn(0)).__name__ == "GUDImputer"


def test_a_killed_fit_goes_on_in_the_benchmark_of_checkpoints(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(BENCHMARKS)
    script = importlib.import_module("checkpoints")
    # The processes that it kills have no salt.
    monkeypatch.setattr("gudlearn._random.SALT", 0)
    argv = ["--quick", "--kills", "1", "--kinds", "table", "--seconds", "1", "--interval", "0.1"]
    assert script.main([*argv, "--out", str(tmp_path / "results.jsonl")]) == 0
    kills, cost = map(json.loads, capsys.readouterr().out.splitlines())
    assert kills["kills"] == 1 and kills["failed"] == kills["left_files"] == 0
    assert kills["identical"] == kills["fits"]
    assert cost["checkpoints"] >= 1 and 0 < cost["percent"] < 50
    assert len((tmp_path / "results.jsonl").read_text().splitlines()) == 2


def test_the_benchmark_of_searches_compares_times_and_scores(monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(BENCHMARKS)
    searches = importlib.import_module("searches")
    monkeypatch.setattr(searches, "GUDGenerator", partial(small, preconditioning="gaussian"))
    monkeypatch.setattr("gudlearn.model.fitted._COARSE", 2)
    monkeypatch.setattr(searches.search, "__defaults__", ({"basis": ["identity"]},))
    out = tmp_path / "results.jsonl"
    command = ["--rows", "60", "--width", "8", "--epochs", "1", "--out", str(out)]
    searches.main([*command, "--n-jobs", "1", "1"])
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["fits"] for line in lines] == [2, 2] and lines[1]["identical"]
    assert lines[1]["ratio"] == lines[0]["seconds"] / lines[1]["seconds"] > 0
    assert "'warm_ratio':" in capsys.readouterr().out


def test_the_benchmark_of_processes_runs_and_expects(monkeypatch, capsys):
    monkeypatch.syspath_prepend(BENCHMARKS)
    processes = importlib.import_module("processes")
    n_threads = torch.get_num_threads()
    command = ["--devices", "1", "--rows", "200", "--width", "8", "--batch-size", "50"]
    processes.main([*command, "--epochs", "1", "2"])
    torch.set_num_threads(n_threads)
    assert "'devices': 1" in capsys.readouterr().out
    processes.main([
        "--what", "sample", "score", "--devices", "1", "--width", "8", "--sampled", "200", "400",
        "--scored", "20", "200",
    ])  # fmt: skip
    out = capsys.readouterr().out
    assert "'what': 'sample'" in out and "'what': 'score'" in out
    # Of two devices each sends and receives all gradients once, twice over half of the bytes.
    two = processes.expected(2, 1e6, 0.1, 1e7, strong=False)
    assert two == pytest.approx(0.1 / (0.1 + 0.1 + 2 * processes.LATENCY))
    assert processes.expected(1, 1e6, 0.1, 1e7, strong=True) == 1
    processes.main(["--expect"])
    assert "1024" in capsys.readouterr().out


def test_the_benchmark_of_sweeps_runs_and_resumes(monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(BENCHMARKS)
    script = importlib.import_module("sweep")
    monkeypatch.setattr("gudlearn.model.fitted._COARSE", 2)
    tiny = partial(small, max_iter=4)
    monkeypatch.setattr(script, "GUDGenerator", lambda max_time, **parameters: tiny(**parameters))
    argv = ["--quick", "--out", str(tmp_path / "results.jsonl")]
    assert script.main(argv) == 0
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert [line["index"] for line in lines] == [-1, 0, 1]
    assert len(lines[0]["bits"]) == len(lines[0]["adapted"]) == 2
    # An untrained joint model of 160 digits has about 2.8.
    assert all(1.5 < bits < 4 for line in lines[1:] for bits in (line["bits"], line["test"]))
    first = capsys.readouterr().out
    assert script.main(argv) == 0
    assert capsys.readouterr().out == first[first.index("digits, seed 0, 2 schedules") :]


@pytest.mark.parametrize("kind", ["OneSidedGaussian", "OneSidedCategories"])
def test_the_optimiser_of_paths_finds_the_order_where_the_bound_depends_on_it(monkeypatch, kind):
    monkeypatch.syspath_prepend(BENCHMARKS)
    paths = importlib.import_module("_learned_paths")
    denoiser = getattr(paths, kind)()
    linear, learned = paths.control(denoiser, steps=60, n_rows=128)
    assert denoiser.least_bound - 1e-3 < learned < linear - 0.6 * (linear - denoiser.least_bound)


def test_the_optimiser_of_paths_keeps_end_points_and_order(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    paths = importlib.import_module("_learned_paths")
    logits = 30 * torch.randn((3, 16), generator=torch.Generator().manual_seed(0))
    path = paths.LearnedPath([-9.0, -8.0, 0.0], [9.0, 7.0, 1.0], logits.double())
    t = torch.linspace(0, 1, 129, dtype=torch.float64)
    gamma, rate = path.gamma_and_rate(t)
    assert (gamma[0] == path.gamma_0).all() and (gamma[-1] == path.gamma_1).all()
    assert (gamma.diff(dim=0) > 0).all()
    # In each piece of 8 steps the rate is the slope.
    slopes = gamma.diff(dim=0)[::8] * 128
    torch.testing.assert_close(rate[:-1:8], slopes)


def test_the_benchmark_of_learned_schedules_runs_and_resumes(monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(BENCHMARKS)
    script = importlib.import_module("learned_schedule")
    monkeypatch.setattr("gudlearn.model.fitted._COARSE", 2)
    monkeypatch.setattr(script, "GUDGenerator", partial(small, validation_fraction=0.0))
    soft = {"schedule": ["soft"], "schedule__softness": [0.5]}
    monkeypatch.setattr(
        script, "grids_of", lambda name, n: (soft, {"schedule": "soft", "softness": (0.5, 1.0)})
    )
    monkeypatch.setattr(script, "GROUPS", 4)
    monkeypatch.setattr(script, "SOFTNESS", (1.0,))
    monkeypatch.setattr("gudlearn.training.fit._ROWS_FOR_TIMES", 8)
    monkeypatch.setattr(script, "control", lambda denoiser, steps: (1.0, 0.5))
    argv = ["--quick", "--out", str(tmp_path / "results.jsonl")]
    assert script.main(argv) == 0
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    found = {line["arm"]: line for line in lines}
    assert list(found)[0] == "default" and list(found)[-1] == script.LAST
    # An untrained joint model of 160 digits has about 2.8.
    assert all(1.5 < line["bits"] < 4 for line in lines)
    assert found["default"]["distance"] < 1e-6 < found["family"]["distance"]
    moved = [found[arm]["distance"] for arm in ("joint", "for the bound", "for the noise")]
    assert min(moved) > 2 * found["default"]["distance"], (moved, found["default"])
    assert found["for the bound"]["difference"] != 0
    capsys.readouterr()
    assert script.main(argv) == 0
    # What is measured is not measured again: two controls, and the report.
    assert len(capsys.readouterr().out.splitlines()) == 2 + len(lines)


def test_the_streaming_benchmark_measures_both_fits_and_resumes(tmp_path, monkeypatch, capsys):
    pytest.importorskip("pyarrow")
    monkeypatch.syspath_prepend(BENCHMARKS)
    streaming, out = importlib.import_module("streaming"), tmp_path / "results.jsonl"
    command = [
        "streaming.py", "--rows", "600", "--in-memory", "300", "--seconds", "30",
        "--max-iter", "1", "--network-width", "8", "--out", str(out),
    ]  # fmt: skip
    monkeypatch.setattr(sys, "argv", command)
    streaming.main()
    memory, stream, *ratios = map(json.loads, capsys.readouterr().out.splitlines())
    assert (memory["fit"], stream["fit"]) == ("memory", "stream")
    assert (memory["rows_of_fit"], stream["rows_of_fit"]) == (300, 600)
    for line in (memory, stream):
        assert line["rows_seen"] > 0 and 50 < line["peak_mib"] < 4000
    assert len(ratios) == 2
    streaming.main()
    assert list(map(json.loads, capsys.readouterr().out.splitlines())) == ratios
    assert len(out.read_text().splitlines()) == 2


def test_the_benchmark_of_reports_measures_a_page(monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(BENCHMARKS)
    script, out = importlib.import_module("report"), tmp_path / "results.jsonl"
    table = script.mixed_table
    assert table(30, 0).shape == (30, 15)
    few = ["number 1", "category 2", "category 8"]
    monkeypatch.setattr(script, "mixed_table", lambda n, seed: table(n, seed)[few])
    script.main(["--rows", "30", "--max-rows", "12", "--out", str(out)])
    line = json.loads(capsys.readouterr().out)
    assert line["columns"] == 3 and line["used"] == 12 and line["rows"] == 30
    assert 0.01 < line["page_mb"] < 3 and line["peak_mib"] < 2048
    assert json.loads(out.read_text()) == line


def test_the_benchmark_of_the_contract_prints_a_matrix_and_resumes(monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(BENCHMARKS)
    script, out = importlib.import_module("contract"), tmp_path / "results.jsonl"
    monkeypatch.setattr(script, "is_installed", lambda module: module == "sklearn")
    argv = ["--only", "KernelDensity", "zuko NSF", "GaussianMixture", "--out", str(out)]
    assert script.main(argv) == 0
    density, absent, mixture, *matrix = capsys.readouterr().out.splitlines()
    assert json.loads(absent) == {"estimator": "zuko NSF", "not_installed": "zuko"}
    assert json.loads(density)["failed"] == 6 and json.loads(mixture)["failed"] == 3
    assert "score must be the mean" in json.loads(density)["messages"]["check_score_is_a_mean"]
    assert matrix[0] == "| check | GMM | KDE |"
    assert "| `score_units` | yes | **no** |" in matrix
    assert "| `sample_prefix` | no, not promised | no, not promised |" in matrix
    assert "| `frame_values` | – | – |" in matrix
    script.main(["--print", "--out", str(out)])
    assert capsys.readouterr().out.splitlines() == matrix
    script.main(argv)
    assert len(out.read_text().splitlines()) == 2


def test_adapters_of_models_of_frames_give_arrays_back(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    peers = importlib.import_module("_contract_peers")

    class Reversed(peers._OfFrames):
        def fit_frame(self, frame):
            return frame

        def draw(self, n_samples):
            return self.model_.iloc[:n_samples, ::-1]

    X = np.arange(12.0).reshape(4, 3)
    np.testing.assert_array_equal(Reversed().fit(X).sample(2), X[:2])
    frame = pd.DataFrame(X, columns=["b", "a", "c"])
    pd.testing.assert_frame_equal(Reversed().fit(frame).sample(3), frame[:3])

    class Nullable(Reversed):
        def draw(self, n_samples):
            return super().draw(n_samples).convert_dtypes()

    X[1, 2] = np.nan
    rows = Nullable().fit(X).sample(2)
    assert rows.dtype == float
    np.testing.assert_array_equal(rows, X[:2])
    assert Nullable().fit(X).sample(0).shape == (0, 3)
    with pytest.raises(ValueError, match="2D array"):
        Reversed().fit(X[:, 0])


@pytest.mark.parametrize("as_object", [False, True])
def test_the_adapter_of_sdv_casts_categories_there_and_back_only_if_told(monkeypatch, as_object):
    monkeypatch.syspath_prepend(BENCHMARKS)
    peers = importlib.import_module("_contract_peers")

    class Synthesizer:
        def __init__(self, metadata, shift):
            self.kinds, self.shift, self.start = metadata, shift, None

        def fit(self, frame):
            assert self.kinds.equals(frame.dtypes)
            self.frame = frame

        def reset_sampling(self):
            self.start = self.shift

        def sample(self, num_rows):
            first, self.start = self.start, self.start + num_rows
            return self.frame[first : self.start]

    metadata = SimpleNamespace(detect_from_dataframe=lambda frame: frame.dtypes)
    modules = {
        "sdv.single_table": SimpleNamespace(Some=Synthesizer),
        "sdv.metadata": SimpleNamespace(Metadata=metadata),
    }
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    frame = pd.DataFrame({"a": pd.Categorical(["x", "y", "x", "y"]), "b": np.arange(4.0)})
    model = peers.FromSDV("Some", {"shift": 1}, as_object=as_object).fit(frame)
    assert (model.model_.frame["a"].dtype == object) is as_object
    for _ in range(2):
        pd.testing.assert_frame_equal(model.sample(2), frame[1:3])


def test_the_benchmark_of_rivals_runs_resumes_and_says_what_failed(
    tables_benchmark, monkeypatch, capsys
):
    _, folder = tables_benchmark
    script, rivals = importlib.import_module("rivals"), importlib.import_module("_rivals")

    def fails(*_):
        raise subprocess.CalledProcessError(1, "pip", "ERROR: No matching distribution\nBye.")

    monkeypatch.setattr(rivals.Environments, "_make", fails)
    monkeypatch.setattr(script, "SMOKE", {**script.SMOKE, "methods": ["marginals", "CTGAN"]})
    argv = ["--data", str(folder), "--tables", "adult", "--smoke", "--cpu"]
    argv += ["--out", str(folder / "rivals.jsonl"), "--environments", str(folder / "none")]
    assert script.main(argv) == 0
    lines = [json.loads(line) for line in (folder / "rivals.jsonl").read_text().splitlines()]
    found = {line["method"]: line for line in lines}
    assert list(found) == ["training rows", "held-out rows", "marginals", "CTGAN"]
    assert found["CTGAN"]["failed"] == "does not install: ERROR: No matching distribution"
    copy, shuffled = found["training rows"], found["marginals"]
    assert copy["copies"] == 1 and copy["utility"] == pytest.approx(copy["utility_real"], abs=0.05)
    assert shuffled["n_fake"] == 240 and shuffled["n_test"] == 60
    # The target is independent of the other columns of this table.
    assert abs(shuffled["utility"] - 0.5) < 5 * shuffled["utility_error"]
    assert 50 < shuffled["peak_mib"] < 4000 and shuffled["seconds_fit"] < 60
    first = capsys.readouterr().out
    assert "| CTGAN | does not install" in first and "First by AUC, 1 s (cpu)" in first
    assert "| TabDiff | 0.8409 |" in first
    assert script.main(argv) == 0
    assert capsys.readouterr().out == first[first.index("\n**adult, 1 s") :]
    assert len((folder / "rivals.jsonl").read_text().splitlines()) == 4


@pytest.fixture
def two_classes():
    """Rows of two numbers with correlation 0.8, a category that follows them, and a constant."""
    draw = np.random.default_rng(0)
    x = draw.multivariate_normal([0, 0], [[1, 0.8], [0.8, 1]], 600)
    return pd.DataFrame({
        "x": x[:, 0], "whole": np.round(10 * x[:, 1]), "same": "s",
        "class": np.where(x[:, 0] + 0.1 * draw.normal(size=600) > 1, "high", "low"),
    })  # fmt: skip


# A copula has classes and numbers depend on each other by ranks of ties, which is less.
@pytest.mark.parametrize("method, least_gap", [("copula", 0), ("gaussian mixtures", 1)])
def test_simple_rivals_keep_values_and_dependence(two_classes, monkeypatch, method, least_gap):
    monkeypatch.syspath_prepend(BENCHMARKS)
    process = importlib.import_module("_rival_process")
    task = process.Task(method, ["same", "class"], "class", 1.0, False, 0, len(two_classes))
    with threadpool_limits(1):
        fake = process.METHODS[method](two_classes, task).sample(600)
    assert list(fake) == list(two_classes)
    for name in fake:
        assert set(fake[name]) <= set(two_classes[name])
    # The standard error of a correlation of 0.8 is 0.015, of the difference of two 0.021.
    assert abs(fake["x"].corr(fake["whole"]) - two_classes["x"].corr(two_classes["whole"])) < 0.11
    # 1.7 in the rows; that of the copula is 0.56, with a standard error of 0.12.
    means = fake.groupby("class")["x"].mean()
    assert means["high"] > means["low"] + least_gap


def test_missing_values_survive_a_rival_that_does_not_take_them(two_classes, monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    rivals = importlib.import_module("_rivals")
    holes = np.random.default_rng(1).random((600, 2)) < 0.2
    frame = two_classes.mask(pd.DataFrame(
        {"x": holes[:, 0], "whole": False, "same": False, "class": holes[:, 1]}
    ))  # fmt: skip
    complete = rivals.Complete(frame, ["same", "class"])
    filled = complete.fill(frame, seed=0)
    assert not filled.isna().any(axis=None) and filled["x"].isin(frame["x"]).all()
    assert set(complete.categories) == set(filled) - {"x", "whole"}
    pd.testing.assert_frame_equal(complete.empty(filled), frame, check_dtype=False)
    # Numbers are clipped and rounded as they were; a column that is on no grid is not rounded.
    odd = two_classes.assign(x=two_classes["x"] * 9, whole=two_classes["whole"] + 0.3)
    settled = rivals.settled(odd, two_classes, ["same", "class"])
    assert settled["x"].between(two_classes["x"].min(), two_classes["x"].max()).all()
    inside = odd["x"].abs() < 1
    np.testing.assert_array_equal(settled["x"][inside], odd["x"][inside])
    np.testing.assert_array_equal(settled["whole"] % 1, 0)


def test_a_slow_rival_stops_with_the_time(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    process = importlib.import_module("_rival_process")
    now = [0.0]
    monkeypatch.setattr(process.time, "monotonic", lambda: now[0])
    task = process.Task("any", [], "y", 10.0, False, 0, 100)

    def epochs(**how):
        now[0] = 0.0
        task.begin()
        for _ in process.while_left(task, range(100), **how):
            now[0] += 4.0
        return now[0]

    assert epochs() == 12 and epochs(stop_early=True) == 8

    def sample(n):
        now[0] += 4.0
        return pd.DataFrame({"y": np.zeros(n)})

    assert len(process.draw(process.Fitted(sample, most_rows=7), 100, 10.0)) == 21
    assert len(process.draw(process.Fitted(sample), 100, 1.0)) == 100


def test_small_tables_are_judged_by_the_protocol(monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(BENCHMARKS)
    script = importlib.import_module("small_tables")
    # A lower bound of the distance, which needs no package.
    monkeypatch.setattr(script, "transport", lambda A, B: np.abs(A.mean(0) - B.mean(0)).sum())
    monkeypatch.setattr(
        script, "run", lambda rival, train, *rest, **how: (pd.concat([train] * 2), {"nats": 1.0})
    )
    argv = ["--tables", "iris", "--seeds", "0", "--methods", "copula"]
    argv += ["--out", str(tmp_path / "small.jsonl")]
    assert script.main(argv) == 0
    oracle, copies = map(json.loads, (tmp_path / "small.jsonl").read_text().splitlines())
    assert copies["draws"] == 2 and copies["nats"] == 1
    for name in script.FIGURES:
        assert oracle[name] == pytest.approx(copies[name])
    assert oracle["w1_train"] == 0 < oracle["w1_test"] and oracle["coverage_train"] == 1
    assert 0.85 < oracle["coverage_test"] and 0.85 < oracle["utility"] < 1
    first = capsys.readouterr().out
    assert "| ForestDiffusion, as published | 0.197 | 0.328 |" in first
    assert "| copula | 0.000 |" in first and "mean rank" in first
    assert script.main(argv) == 0
    assert capsys.readouterr().out == first[first.index("\n**iris") :]
    # Two levels are at distance 1, the ends of a column too.
    ends = pd.DataFrame({"x": [1.0, 3.0], "c": ["a", "b"]})
    first_row, last_row = script.Codes(ends, [], ["c"])(ends)
    assert np.abs(first_row - last_row).sum() == 2
    # Balls reach to the second neighbour, at 1 within and at 2 at the ends of the line.
    line = np.arange(5.0)[:, None]
    assert script.coverage(line, np.array([[0.2]])) == pytest.approx(0.4)


# A noise level costs (1 + copies) hundredths of a second with 100 trees.
@pytest.mark.parametrize("seconds, least, most", [(1e4, 100, 100), (30.0, 2, 99), (0.5, 1, 1)])
def test_as_many_copies_of_rows_as_fit_the_time(monkeypatch, seconds, least, most):
    monkeypatch.syspath_prepend(BENCHMARKS)
    process = importlib.import_module("_rival_process")
    now = [0.0]
    monkeypatch.setattr(process.time, "monotonic", lambda: now[0])
    task = process.Task("any", [], "y", seconds, False, 0, 100)
    task.begin()

    def fit(levels, copies, trees):
        now[0] += levels * 0.01 * (1 + copies) * trees / 100

    copies, trees = process.copies_and_trees(fit, task)
    assert now[0] < 0.3 * seconds
    fit(50, copies, trees)
    assert least <= copies <= most and (trees == 100) == (copies > 1)
    # Three quarters of it are planned for, unless the defaults take less.
    assert now[0] <= seconds and (copies == 100 or now[0] > 0.6 * seconds)
