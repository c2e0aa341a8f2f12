"""Commands on the tables that people have: codes, gaps, names that are taken, ragged lines."""

import io

import numpy as np
import pandas as pd
import pytest

import gudlearn
from gudlearn import GUDImputer, GUDOutlierDetector
from gudlearn.commands.errors import CommandError
from gudlearn.commands.files import read_both, read_table
from gudlearn.commands.main import main, make_parser
from small import continuous


@pytest.fixture
def fails(capsys):
    def run(*arguments):
        assert main([str(a) for a in arguments]) == 1
        return capsys.readouterr().err

    return run


def options(separator=None):
    return type("Options", (), {"encoding": "utf-8-sig", "separator": separator})


def written(tmp_path, text, name="data.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def rows_of(tmp_path, text, **settings):
    return read_both(written(tmp_path, text), options(**settings))


def colours(n=80, seed=0):
    """Rows with a code, a colour and two numbers."""
    rng = np.random.default_rng(seed)
    colour = rng.choice(["red", "NA"], n)
    return pd.DataFrame(
        {
            "zip": rng.choice(["02134", "90210"], n), "colour": colour,
            "size": np.round(rng.normal(5, 1, n) + (colour == "red"), 2),
            "a=b": rng.integers(10, 60, n),
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model file of colours."""
    folder = tmp_path_factory.mktemp("tables")
    data, path = folder / "data.csv", str(folder / "model.gud")
    colours().to_csv(data, index=False)
    assert main(["fit", str(data), "-o", path, "--time", "1s", "--quiet"]) == 0
    return path


# Reading


def test_lines_with_too_many_fields_are_an_error(tmp_path):
    with pytest.raises(CommandError, match="more than the 2 fields"):
        rows_of(tmp_path, "a,b\n" + "1,2,3\n" * 4)


def test_of_text_only_an_empty_field_is_missing(tmp_path):
    frame, raw = rows_of(
        tmp_path,
        "n,country,day,yes,code\n1,NA,2020-01-01,True,NA\n,DE,NA,,07\nNA,,2020-02-01,False,\n",
    )
    assert frame["country"].tolist()[:2] == ["NA", "DE"] and pd.isna(frame["country"][2])
    assert frame["code"].tolist()[:2] == ["NA", "07"] and pd.isna(frame["code"][2])
    assert frame["n"].dtype == "Int64" and frame["n"].isna().tolist() == [False, True, True]
    assert frame["day"].dtype.kind == "M" and frame["day"].isna().tolist() == [False, True, False]
    assert frame["yes"].tolist()[::2] == [True, False] and pd.isna(frame["yes"][1])
    assert raw["n"].tolist() == ["1", "", "NA"] and raw["code"].tolist() == ["NA", "07", ""]


def test_codes_are_found_in_every_row_and_behind_spaces_and_blank_lines(tmp_path):
    late = "\n\nzip, n\n" + "90210, 1\n" * 2000 + "02134, 2\n"
    frame, _ = rows_of(tmp_path, late)
    assert set(frame["zip"]) == {"90210", "02134"} and frame["n"].dtype == "int64"
    frame, _ = rows_of(tmp_path, 'n;zip\n0;"02134"\n0.5;10000\n', separator=";")
    assert frame["zip"].tolist() == ["02134", "10000"] and frame["n"].dtype == "float64"


def test_separators(tmp_path):
    assert rows_of(tmp_path, "a\tb\n1\t2\n", separator="\\t")[0].columns.tolist() == ["a", "b"]
    # A file that gudlearn wrote, beside one of the user.
    assert rows_of(tmp_path, "a,b\n1,2\n", separator=";")[0].columns.tolist() == ["a", "b"]
    with pytest.raises(CommandError, match="one character"):
        rows_of(tmp_path, "a,b\n1,2\n", separator="::")


def test_tables_that_were_written_in_capitals_have_tabs(tmp_path, model):
    path = str(tmp_path / "ROWS.TSV")
    assert main(["sample", model, "-n", "2", "-o", path, "--quiet"]) == 0
    assert read_table(path, options()).shape == (2, 4)


# Options


def test_repeated_options_add_up():
    given = make_parser().parse_args(
        "fit a.csv -o m.gud --drop a --drop b c --category d --category e".split()
    )
    assert given.drop == ["a", "b", "c"] and given.category == ["d", "e"]
    given = make_parser().parse_args("sample m.gud -o - --where a=1 --where b=2".split())
    assert given.where == ["a=1", "b=2"]


def test_conditions_of_names_with_equals_signs_and_impossible_ones(model, fails, capsys):
    where = ["--where", "a=b=20..30", "--where", "colour=NA", "zip=02134"]
    assert main(["sample", model, "-n", "4", "-o", "-", "--quiet", *where]) == 0
    rows = pd.read_csv(io.StringIO(capsys.readouterr().out), dtype=str, keep_default_na=False)
    assert rows["a=b"].astype(int).between(20, 30).all() and set(rows["zip"]) == {"02134"}
    assert set(rows["colour"]) == {"NA"}
    sample = ["sample", model, "-o", "-", "--where"]
    assert "twice" in fails(*sample, "size=4..6", "--where", "size=5..")
    assert "goes from 10 to 59" in fails(*sample, "a=b=99,100")


def test_a_level_with_a_comma_is_one_level(tmp_path, capsys):
    data, path = tmp_path / "data.csv", str(tmp_path / "m.gud")
    frame = colours().assign(colour=lambda f: f["colour"].replace("NA", "red, dark"))
    frame.to_csv(data, index=False)
    assert main(["fit", str(data), "-o", path, "--time", "1s", "--quiet"]) == 0
    where = ["--where", "colour=red, dark"]
    assert main(["sample", path, "-n", "3", "-o", "-", "--quiet", *where]) == 0
    rows = pd.read_csv(io.StringIO(capsys.readouterr().out))
    assert set(rows["colour"]) == {"red, dark"}


# Columns that are passed on


def impute(tmp_path, model, text, out="-"):
    return main(["impute", model, written(tmp_path, text, "rows.csv"), "-o", out, "--quiet"])


def test_what_is_not_filled_stays_as_it_was(tmp_path, model, capsys):
    text = (
        "id,zip,note,colour,size,a=b\n007,02134,1.50,NA,5.10,20\n010,90210,2.00,,4.0,30\n"
        "011,,3e2,red,,31\n"
    )
    assert impute(tmp_path, model, text) == 0
    rows = [line.split(",") for line in capsys.readouterr().out.splitlines()]
    given = [line.split(",") for line in text.splitlines()]
    for row, was in zip(rows, given, strict=True):
        pairs = zip(row, was, strict=True)
        assert all(value == old or (old == "" and value != "") for value, old in pairs)
    assert rows[2][3] in ("NA", "red") and rows[3][1] in ("02134", "90210")
    # Another format has types.
    path = str(tmp_path / "out.parquet")
    assert impute(tmp_path, model, text, path) == 0
    frame = pd.read_parquet(path)
    assert frame["id"].tolist() == ["007", "010", "011"] and frame["size"].dtype == "float64"
    assert not frame.isna().any(axis=None)


def test_outliers_keep_the_texts_of_the_rows(tmp_path, fails, capsys):
    frame = pd.DataFrame(continuous(60), columns=list("abc"))
    path = str(tmp_path / "m.gud")
    gudlearn.save(GUDOutlierDetector().fit(frame), path)
    text = "id,a,b,c\n007,0.10,1e-1,.5\n008,9.0,9,-9\n"
    assert main(["outliers", path, written(tmp_path, text), "-o", "-", "--quiet"]) == 0
    first, *rows = capsys.readouterr().out.splitlines()
    assert first == "id,a,b,c,score,outlier" and rows[0].startswith("007,0.10,1e-1,.5,")
    assert rows[1].endswith(",True")
    text = text.replace("id", "score")
    assert "column 'score'" in fails("outliers", path, written(tmp_path, text), "-o", "-")


def test_an_imputer_of_numbers_is_asked_by_names(tmp_path, capsys):
    frame = pd.DataFrame(continuous(60), columns=list("abc"))
    frame.iloc[::7, 1] = np.nan
    path = str(tmp_path / "m.gud")
    gudlearn.save(GUDImputer(random_state=0).fit(frame), path)
    assert impute(tmp_path, path, "c,b,a,id\n0.50,,1.0,007\n") == 0
    first, row = capsys.readouterr().out.splitlines()
    assert first == "c,b,a,id" and row.split(",")[0::2] == ["0.50", "1.0"]
    assert row.endswith(",007") and np.isfinite(float(row.split(",")[1]))


# Names that are taken


def test_numbered_draws_need_their_names(tmp_path, fails):
    data = colours().rename(columns={"size": "draw"})
    data.to_csv(tmp_path / "data.csv", index=False)
    path = str(tmp_path / "m.gud")
    assert main(["fit", str(tmp_path / "data.csv"), "-o", path, "--time", "1s", "--quiet"]) == 0
    given = written(tmp_path, "colour\nred\nNA\n", "given.csv")
    assert "column 'draw'" in fails("sample", path, "-n", "2", "-o", "-", "--given", given)


def test_a_target_may_be_called_median(tmp_path, capsys):
    data = colours().rename(columns={"size": "median"})
    data.to_csv(tmp_path / "data.csv", index=False)
    path, data = str(tmp_path / "m.gud"), str(tmp_path / "data.csv")
    assert main(["fit", data, "-o", path, "--target", "median", "--time", "1s", "--quiet"]) == 0
    assert main(["predict", path, data, "-o", "-", "--quiet"]) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first == "median,median_,quantile 0.05,quantile 0.95"


# Targets


@pytest.mark.parametrize(
    "values, kind",
    [
        (["True", "False", "True", ""], "GUDClassifier"),
        (["1", "0", "1", ""], "GUDClassifier"),
        (["2020-01-01 00:00:00+01:00", "2020-01-02 00:00:00+01:00"], None),
    ],
)
def test_targets_with_gaps_and_dates(tmp_path, values, kind, fails, capsys):
    frame = colours().assign(y=np.resize(values, 80))
    data, path = tmp_path / "data.csv", str(tmp_path / "m.gud")
    frame.to_csv(data, index=False)
    fit = ["fit", str(data), "-o", path, "--target", "y", "--time", "1s"]
    if kind is None:
        assert "'y' holds dates" in fails(*fit)
        return
    assert main([*fit, "--quiet"]) == 0
    found = gudlearn.load(path)
    assert type(found).__name__ == kind and len(found.classes_) == 2


def test_text_is_not_regressed(tmp_path, fails):
    colours().to_csv(tmp_path / "data.csv", index=False)
    fit = ["fit", tmp_path / "data.csv", "-o", tmp_path / "m.gud", "--target", "colour"]
    assert "needs numbers, but 'colour' holds" in fails(*fit, "--task", "regress")


# Reports


def test_reports_agree_on_types_and_on_columns(tmp_path, capsys):
    pytest.importorskip("jinja2")
    frames = [colours(60, seed).astype({"zip": str}) for seed in range(3)]
    # No code of the test rows has a leading zero.
    frames[1]["zip"] = "90210"
    frames[2] = frames[2].drop(columns="a=b")
    paths = [str(tmp_path / f"{k}.csv") for k in range(3)]
    for frame, path in zip(frames, paths, strict=True):
        frame.to_csv(path, index=False)
    assert main(["report", *paths]) == 0
    told = capsys.readouterr()
    assert f"Not in {paths[2]}, and left out: a=b." in told.err and "zip" in told.out


def test_one_row_has_a_score_and_no_error(tmp_path, model, capsys):
    text = "zip,colour,size,a=b\n02134,red,5.0,20\n"
    assert main(["score", model, written(tmp_path, text), "--coarse"]) == 0
    assert capsys.readouterr().out.startswith("1 rows, mean log-likelihood")
