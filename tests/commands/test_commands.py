"""Commands, as subprocesses for what they do, and called for how they fail."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile

import numpy as np
import pandas as pd
import pytest

import gudlearn
from gudlearn import GUDGenerator
from gudlearn.commands.main import main

PYTHON = [sys.executable, "-W", "ignore", "-m", "gudlearn"]


def run(*arguments, data=None):
    """Run a command as a user does; return its exit status, output and messages."""
    found = subprocess.run([*PYTHON, *map(str, arguments)], input=data, capture_output=True)
    return found.returncode, found.stdout.decode(), found.stderr.decode()


def people(n=120, seed=0):
    rng = np.random.default_rng(seed)
    age, kind = rng.integers(18, 80, n).astype(float), rng.choice(["a", "b"], n)
    frame = pd.DataFrame(
        {
            "age": np.where(rng.random(n) < 0.1, np.nan, age),
            "kind": kind,
            "zip": rng.choice(["01234", "02134"], n),
            "code": rng.integers(1, 4, n),
            "since": pd.date_range("2020-01-01", periods=n).strftime("%Y-%m-%d"),
            "income": np.round(np.exp(rng.normal(10, 0.3, n) + (kind == "b")), 2),
        }
    )
    return frame


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with rows, and models of them."""
    folder = tmp_path_factory.mktemp("commands")
    people().to_csv(folder / "data.csv", index=False)
    people(40, 1).to_csv(folder / "more.csv", index=False)
    status, out, told = run(
        "fit", folder / "data.csv", "-o", folder / "model.gud", "--time", "3s", "--seed", 0,
        "--category", "code",
    )  # fmt: skip
    assert (status, out) == (0, ""), told
    # Types are shown before training starts.
    assert told.index("income  continuous") < told.index("epoch 0") < told.index("model.gud")
    return folder


def text_of(path):
    return path.read_text(encoding="utf-8")


def test_samples_are_rows_that_the_file_could_hold(folder):
    status, out, told = run("sample", folder / "model.gud", "-n", 7, "--seed", 1, "-o", "-")
    assert status == 0 and told == "7 rows\n"
    rows = pd.read_csv(io.StringIO(out), dtype={"zip": str})
    assert rows.shape == (7, 6) and rows.columns.tolist() == people().columns.tolist()
    assert set(rows["zip"]) <= {"01234", "02134"} and not rows.isna().any(axis=None)
    assert pd.to_datetime(rows["since"], format="ISO8601").between("2020-01-01", "2020-12-31").all()
    assert ((rows["age"] % 1) == 0).all() and rows["age"].between(18, 79).all()


def test_samples_of_a_seed_are_those_of_the_model(folder, capsys):
    model = folder / "model.gud"
    assert main(["sample", str(model), "-n", "7", "--seed", "1", "-o", "-", "--quiet"]) == 0
    rows = pd.read_csv(io.StringIO(capsys.readouterr().out), dtype={"zip": str})
    again = gudlearn.load(model).sample(7, random_state=1)
    assert again["income"].tolist() == rows["income"].tolist()


def test_scores_are_those_of_the_model(folder, tmp_path):
    path = tmp_path / "scores.csv"
    arguments = ["score", folder / "model.gud", folder / "more.csv", "-o", path]
    status, out, told = run(*arguments)
    assert status == 0 and out == "" and told.startswith("40 rows, mean log-likelihood")
    # Noise has another salt here than in the process above.
    assert main([*map(str, arguments), "--force"]) == 0
    scores = pd.read_csv(path)
    frame = people(40, 1).assign(
        since=lambda f: pd.to_datetime(f["since"]), code=lambda f: f["code"].astype(str)
    )
    expected = gudlearn.load(folder / "model.gud").score_samples(frame)
    np.testing.assert_allclose(scores["log_likelihood"], expected)
    assert (scores["standard_error"] > 0).all()


def test_missing_values_are_filled_and_other_columns_stay(folder):
    rows = people(6, 2).assign(note="x")[["note", "income", "age", "kind", "zip", "code", "since"]]
    rows.loc[:2, "age"] = np.nan
    data = rows.to_csv(index=False).encode()
    status, out, told = run("impute", folder / "model.gud", "-", "-o", "-", data=data)
    assert status == 0 and "Not known to the model, and not looked at: note." in told
    filled = pd.read_csv(io.StringIO(out), dtype={"zip": str})
    assert filled.columns.tolist() == rows.columns.tolist() and not filled.isna().any(axis=None)
    observed = rows["age"].notna()
    assert filled["age"][observed].tolist() == rows["age"][observed].tolist()
    assert filled.drop(columns="age").equals(rows.drop(columns="age"))


def test_a_model_is_described(folder):
    status, out, told = run("describe", folder / "model.gud")
    assert status == 0 and told == ""
    assert out.startswith("GUDGenerator of 6 columns") and "2020-01-01 to 2020-04-29" in out


def test_rows_are_divided_and_stay_the_text_that_they_are(tmp_path):
    text = "code,value\n" + "".join(f"{k:03d},{k / 4:.2f}\n" for k in range(20))
    status, out, _ = run(
        "split", "-", "-o", tmp_path / "a.csv", tmp_path / "b.csv", "--test", 0.25,
        data=text.encode(),
    )  # fmt: skip
    assert status == 0 and out == ""
    train, test = (text_of(tmp_path / name).splitlines() for name in ("a.csv", "b.csv"))
    assert train[0] == test[0] == "code,value" and len(train) == 16
    assert sorted(train[1:] + test[1:]) == text.splitlines()[1:]
    assert train[1:] == sorted(train[1:])


@pytest.mark.parametrize("target, kind", [("kind", "GUDClassifier"), ("income", "GUDRegressor")])
def test_a_target_is_predicted_sampled_and_scored(folder, tmp_path, capsys, target, kind):
    model, out = str(tmp_path / "m.gud"), str(tmp_path / "out.parquet")
    data = str(folder / "data.csv")
    assert main(["fit", data, "-o", model, "--target", target, "--time", "2s", "--quiet"]) == 0
    assert type(gudlearn.load(model)).__name__ == kind
    assert main(["predict", model, str(folder / "more.csv"), "-o", out]) == 0
    found = pd.read_parquet(out)
    assert len(found) == 40 and found.columns[0] == target
    if target == "kind":
        np.testing.assert_allclose(found[["p(a)", "p(b)"]].sum(axis=1), 1.0, rtol=1e-6)
    else:
        assert (found["quantile 0.05"] < found["quantile 0.95"]).all()
    assert main(["sample", model, "-n", "3", "-o", out, "--force"]) == 0
    assert set(pd.read_parquet(out).columns) == set(people().columns)
    capsys.readouterr()
    assert main(["score", model, data, "--coarse"]) == 0
    assert capsys.readouterr().out.startswith("120 rows, mean log-likelihood")


def test_outliers_are_found(folder, tmp_path, capsys):
    model, out = str(tmp_path / "m.gud"), str(tmp_path / "out.csv")
    data = people()
    data.loc[3, ["age", "income"]] = [79.0, 1e7]
    data.to_csv(tmp_path / "data.csv", index=False)
    data = str(tmp_path / "data.csv")
    assert main(["fit", data, "-o", model, "--job", "outliers", "--drop", "since"]) == 0
    assert main(["outliers", model, data, "-o", out]) == 0
    found = pd.read_csv(out)
    assert found["outlier"][3] and found["score"].rank()[3] <= 3
    assert found["outlier"].sum() == pytest.approx(12, abs=1) and "since" in found


def test_an_imputer_fills_rows(folder, tmp_path):
    model, out = str(tmp_path / "m.gud"), str(tmp_path / "out.csv")
    data = str(folder / "data.csv")
    assert main(["fit", data, "-o", model, "--job", "impute", "--time", "2s", "--quiet"]) == 0
    for extra in ([], ["--draw", "--seed", "1", "--force"]):
        assert main(["impute", model, data, "-o", out, *extra]) == 0
        filled = pd.read_csv(out)
        assert not filled.isna().any(axis=None)
        assert filled["income"].tolist() == people()["income"].tolist()


def test_conditions_and_known_values(folder, capsys):
    model, given = str(folder / "model.gud"), str(folder / "given.csv")
    asked = ["age=30..60", "kind=a", "since=2020-01-10..", "zip=02134,01234"]
    assert main(["sample", model, "-n", "5", "-o", "-", "--where", *asked, "--quiet"]) == 0
    rows = pd.read_csv(io.StringIO(capsys.readouterr().out))
    assert rows["age"].between(30, 60).all() and (rows["kind"] == "a").all()
    assert (rows["since"] >= "2020-01-10").all()
    pd.DataFrame({"kind": ["a", "b"], "age": [30, 40]}).to_csv(given, index=False)
    assert main(["sample", model, "-n", "3", "-o", "-", "--given", given, "--quiet"]) == 0
    rows = pd.read_csv(io.StringIO(capsys.readouterr().out))
    assert rows["draw"].tolist() == [0, 0, 1, 1, 2, 2] and rows["age"].tolist() == [30, 40] * 3


@pytest.mark.parametrize("format", ["parquet", "arrow", "tsv"])
def test_other_formats_hold_the_same_rows(folder, tmp_path, format):
    path = str(tmp_path / f"rows.{format}")
    assert main(["sample", str(folder / "model.gud"), "-n", "4", "--seed", "3", "-o", path]) == 0
    assert main(["sample", str(folder / "model.gud"), "-n", "4", "--seed", "3", "-o",
                 str(tmp_path / "rows.csv")]) == 0  # fmt: skip
    read = {"parquet": pd.read_parquet, "arrow": pd.read_feather}.get(
        format, lambda p: pd.read_csv(p, sep="\t", dtype={"zip": str})
    )
    expected = pd.read_csv(tmp_path / "rows.csv", dtype={"zip": str})
    found = read(path).assign(since=lambda f: f["since"].astype(str).str[:10])
    assert found.astype(str).equals(expected.astype(found.dtypes).astype(str))
    assert main(["score", str(folder / "model.gud"), path, "--coarse"]) == 0


# Failures


@pytest.fixture
def fails(capsys):
    """A function that runs a command which must fail, and returns its message."""

    def run(*arguments, status=1):
        assert main([str(a) for a in arguments]) == status
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err and captured.out == ""
        return captured.err

    return run


BAD_FILES = {
    "names": ("a,b,a\n1,2,3\n", "has columns of the same name, such as 'a'"),
    "ragged": ("a,b\n1,2\n1,2,3,4\n", "line 3"),
    "empty": ("", "is empty"),
    "header": ("a,b\n", "has no rows"),
    "quote": ('a,b\n1,"2\n', "no table with fields separated by ','"),
    "text": (
        "a,b\n" + "".join(f'{k % 3},"word {k} and more of it"\n' for k in range(30)),
        "free text.*--drop 'b'",
    ),
    "missing": ("a,b\n" + ",\n" * 5, "has no column with values"),
    "infinite": ("a,b\n" + "1,inf\n2,3\n" * 5, "inf"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_tables_are_explained_before_work_starts(case, fails, tmp_path, monkeypatch):
    text, message = BAD_FILES[case]
    path, model = tmp_path / "bad.csv", tmp_path / "m.gud"
    path.write_text(text, encoding="utf-8")
    monkeypatch.setattr(GUDGenerator, "fit", lambda *args: pytest.fail("work has started"))
    told = fails("fit", path, "-o", model)
    assert re.search(message, told), told
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("encoding", "byte"), [("cp1252", "0xf6 in line 2"), ("utf-16", "0xff in line 1")]
)
def test_another_encoding_is_named(encoding, byte, fails, tmp_path):
    path = tmp_path / "data.csv"
    path.write_bytes("city,n\nKöln,1\nBonn,2\n".encode(encoding))
    told = fails("fit", path, "-o", tmp_path / "m.gud")
    assert f"not utf-8-sig: byte {byte}" in told and f"--encoding {encoding}" in told
    out = tmp_path / "out.csv"
    split = ["split", str(path), "-o", str(out), str(tmp_path / "b.csv"), "--test", "0.5"]
    assert main([*split, "--encoding", encoding]) == 0
    assert "K" in text_of(out) or "Bonn" in text_of(out)


def test_files_that_exist_are_not_replaced(folder, fails, tmp_path):
    path = tmp_path / "out.csv"
    path.write_text("precious", encoding="utf-8")
    for command in (
        ["sample", folder / "model.gud"], ["impute", folder / "model.gud", folder / "more.csv"],
        ["score", folder / "model.gud", folder / "more.csv"],
    ):  # fmt: skip
        assert "exists. Pass --force" in fails(*command, "-o", path)
    assert "exists. Pass --force" in fails("fit", folder / "data.csv", "-o", folder / "model.gud")
    assert text_of(path) == "precious"
    assert "is a folder" in fails("sample", folder / "model.gud", "-o", tmp_path)
    nowhere = tmp_path / "no" / "out.csv"
    assert "cannot be written" in fails("sample", folder / "model.gud", "-o", nowhere)


def test_usage_errors_have_their_own_status(folder, fails):
    fails("fit", folder / "data.csv", status=2)
    fails("dream", status=2)
    fails("fit", "data.csv", "-o", "m.gud", "--time", "soon", status=2)
    assert main([]) == 0


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["sample", "{model}", "-n", "0", "-o", "-"], "pass at least 1"),
        (["sample", "{more}", "-o", "-"], "no zip file"),
        (["sample", "nothing.gud", "-o", "-"], "nothing.gud does not exist"),
        (["sample", "{model}", "-o", "rows.xlsx"], "tables are read and written as"),
        (["sample", "{model}", "-o", "-", "--where", "age"], "COLUMN=LOW..HIGH"),
        (["sample", "{model}", "-o", "-", "--where", "ages=3"], "no column 'ages'"),
        (["sample", "{model}", "-o", "-", "--where", "age=old"], "'old' is no value of column"),
        (["sample", "{model}", "-o", "-", "--where", "kind=z"], "'z'"),
        (["predict", "{model}", "{more}", "-o", "-"], "cannot predict. Fit one with --job"),
        (["outliers", "{model}", "{more}", "-o", "-"], "cannot find outliers"),
        (["score", "{model}", "nothing.csv"], "nothing.csv does not exist"),
        (["fit", "{more}", "-o", "m.gud", "--target", "incom"], "no column 'incom'"),
        (["fit", "{more}", "-o", "m.gud", "--drop", "incom"], "no column 'incom'"),
        (["fit", "{more}", "-o", "m.gud", "--category", "incom"], "no column 'incom'"),
        (["fit", "{more}", "-o", "m.gud", "--job", "predict"], "belong together"),
        (["fit", "{more}", "-o", "-"], "A model is no text"),
        (["fit", "{more}", "-o", "m.gud", "--job", "outliers", "--time", "3s"], "no effect"),
        (["split", "{more}", "-o", "a.csv", "a.csv"], "pass two files"),
        (["split", "{more}", "-o", "a.csv", "b.csv", "--test", "2"], "between 0 and 1"),
        (["report", "{more}", "{more}", "{more}", "-o", "a.pdf"], "the page is HTML"),
    ],
)  # fmt: skip
def test_mistakes_are_explained(arguments, message, folder, fails, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    places = {"model": folder / "model.gud", "more": folder / "more.csv"}
    assert message in fails(*(argument.format(**places) for argument in arguments))
    assert not list(tmp_path.iterdir())


def test_a_newer_model_file_is_refused_without_a_traceback(folder, fails, tmp_path):
    path = tmp_path / "newer.gud"
    with zipfile.ZipFile(folder / "model.gud") as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "manifest.json":
                data = json.dumps(json.loads(data) | {"schema": 99}).encode()
            new.writestr(name, data)
    assert "schema 99 is newer" in fails("sample", path, "-o", "-")


def test_debug_shows_where_an_error_arose(folder, capsys):
    assert main(["sample", str(folder / "more.csv"), "-o", "-", "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_an_interrupted_command_writes_nothing(folder, tmp_path):
    process = subprocess.Popen(
        [*PYTHON, "fit", str(folder / "data.csv"), "-o", str(tmp_path / "m.gud"), "--time", "1h"],
        stderr=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    for line in process.stderr:
        if line.startswith(b"epoch"):
            break
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    rest = process.communicate(timeout=60)[1].decode()
    assert process.returncode == 130 and "Interrupted: nothing was written" in rest
    assert "Traceback" not in rest and not list(tmp_path.iterdir())


def test_a_reader_that_has_seen_enough_is_no_error(folder, tmp_path):
    with subprocess.Popen(
        [*PYTHON, "split", str(folder / "data.csv"), "-o", "-", str(tmp_path / "b.csv")],
        stderr=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        process.stdout.close()
        assert process.wait(timeout=120) == 0
        assert b"Traceback" not in process.stderr.read()
