"""Tables in files and in standard streams: CSV, Parquet and Arrow, read whole and written whole."""

import codecs
import csv
import io
import re
import sys
import warnings
from collections import Counter
from pathlib import Path

import pandas as pd

from gudlearn.commands.errors import CommandError
from gudlearn.storage.archive import check_writable, replaced

# How a table is stored, by the end of its file's name. Standard streams hold CSV.
_FORMATS = {
    ".csv": "csv", ".tsv": "csv", ".txt": "csv", ".parquet": "parquet", ".pq": "parquet",
    ".arrow": "arrow", ".feather": "arrow", ".ipc": "arrow",
}  # fmt: skip
_STREAM = "-"
# Fields that are missing values in columns of numbers, dates and truth values.
_GAPS = [
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
    "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
]  # fmt: skip
_CODE = re.compile("0[0-9]+ *")
# A column of at least this many texts, all different, names rows; this many words are a sentence.
_FEWEST, _WORDS = 20, 4


def format_of(path):
    """The format of a table's file: "csv", "parquet" or "arrow".

    Raises
    ------
    CommandError
        If the name has another end.
    """
    if path == _STREAM:
        return "csv"
    suffix = Path(path).suffix.lower()
    if suffix not in _FORMATS:
        raise CommandError(
            f"{path}: tables are read and written as {', '.join(_FORMATS)}, by the end of the "
            "name, or - for CSV on the standard streams."
        )
    return _FORMATS[suffix]


def check_output(path, force):
    """Raise a `CommandError` if a file exists and is not to be replaced, or cannot be written."""
    if path == _STREAM:
        return
    path = Path(path)
    if path.is_dir():
        raise CommandError(f"{path} is a folder. Pass the name of a file.")
    if path.exists() and not force:
        raise CommandError(f"{path} exists. Pass --force to replace it.")
    try:
        check_writable(path)
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror or error}.") from error


def read_table(path, options, *, as_text=(), all_of_them=True):
    """Read a table as a DataFrame.

    Parameters
    ----------
    path : str
        A file, or "-" for CSV from standard input.
    options : namespace
        With ``separator`` and ``encoding`` of CSV.
    as_text : list of str
        Columns whose values are text also where they look like numbers: codes with leading zeros.
    all_of_them : bool
        Whether one of these that the table does not have is an error.

    Returns
    -------
    DataFrame
        Columns of text that hold ISO 8601 dates alone are datetimes; numbers that are whole where
        they are not missing are ``Int64``.

    Raises
    ------
    CommandError
        If it cannot be read, names a column twice, or has no rows.
    """
    return _read(path, options, as_text, all_of_them)[0]


def read_raw(path, options):
    """Read a table whose values are only moved: those of CSV are the texts that they are."""
    return _read(path, options)[1]


def read_both(path, options, *, as_text=()):
    """The tables of `read_table`, which may lack columns of ``as_text``, and of `read_raw`."""
    return _read(path, options, as_text, False)


def _read(path, options, as_text=(), all_of_them=True):
    kind = format_of(path)
    if path != _STREAM and not Path(path).exists():
        raise CommandError(f"{path} does not exist.")
    if path != _STREAM and Path(path).is_dir():
        raise CommandError(f"{path} is a folder. Pass one file.")
    if kind == "csv":
        frame, raw = _read_csv(path, options, as_text, all_of_them)
    else:
        frame = raw = _read_binary(path, kind)
    if not len(frame):
        raise CommandError(f"{path} has no rows.")
    _check_names(path, [str(name) for name in frame.columns])
    return frame, raw


def _read_csv(path, options, as_text, all_of_them):
    data = sys.stdin.buffer.read() if path == _STREAM else Path(path).read_bytes()
    try:
        text = data.decode(options.encoding)
    except UnicodeDecodeError as error:
        # Editors of Windows that write "Unicode" begin a file with this mark.
        marked = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        raise CommandError(
            f"{path} is not {options.encoding}: byte 0x{data[error.start]:02x} in line "
            f"{data[: error.start].count(10) + 1}. Pass its encoding, such as --encoding "
            f"{'utf-16' if marked else 'cp1252'}."
        ) from error
    if not text.strip():
        raise CommandError(f"{path} is empty.")
    separator = _separator(path, options, text.lstrip().partition("\n")[0])
    header = next(_records(text, separator))
    _check_names(path, header)
    unknown = sorted(set(as_text) - set(header))
    if unknown and all_of_them:
        raise CommandError(unknown_column(path, unknown[0], header))
    codes = _codes(text, separator)
    as_text = [name for name in header if name in as_text or name in codes]
    try:
        with warnings.catch_warnings():
            # Lines with more fields than the header would lose some.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            raw = pd.read_csv(
                io.StringIO(text), sep=separator, index_col=False, dtype=str,
                keep_default_na=False, skipinitialspace=True,
            )  # fmt: skip
            frame = pd.read_csv(
                io.StringIO(text), sep=separator, index_col=False, low_memory=False,
                dtype=dict.fromkeys(as_text, str), keep_default_na=False, na_values=_GAPS,
                skipinitialspace=True,
            )  # fmt: skip
    except (pd.errors.ParserError, pd.errors.ParserWarning, ValueError) as error:
        reason = str(error).removeprefix("Error tokenizing data. C error: ").strip()
        if isinstance(error, pd.errors.ParserWarning):
            reason = f"some lines have more than the {len(header)} fields of the first one"
        raise CommandError(
            f"{path} is no table with fields separated by {separator!r}: {reason}. Pass "
            "--separator if it has another one."
        ) from error
    for name in frame.columns:
        frame[name] = _settled(frame[name], raw[name], name in as_text)
    return frame, raw


def _separator(path, options, header):
    """The separator that was asked for, or that the name of a file tells."""
    if options.separator is None:
        return "\t" if path.lower().endswith(".tsv") else ","
    separator = options.separator.replace("\\t", "\t")
    if len(separator) != 1:
        raise CommandError(f"--separator {options.separator!r} must be one character.")
    # Files that gudlearn has written have commas.
    return "," if separator not in header and "," in header else separator


def _records(text, separator):
    """Lines of CSV as lists, blank ones left out."""
    reader = csv.reader(io.StringIO(text), delimiter=separator, skipinitialspace=True)
    return (record for record in reader if record)


def _codes(text, separator):
    """Columns in which numbers have leading zeros: codes, such as 02134."""
    if not re.search(rf'(?m)(?:^|{re.escape(separator)})[ "]*0[0-9]', text):
        return set()
    records = _records(text, separator)
    header, found = next(records), set()
    for record in records:
        found.update(n for n, v in zip(header, record, strict=False) if _CODE.fullmatch(v))
    return found


def _settled(column, raw, as_text):
    """A column of CSV with the type that its values have."""
    observed = column.dropna()
    if column.dtype.kind == "f" and len(observed) < len(column) and len(observed):
        if (observed == observed.round()).all() and observed.abs().max() < 2**53:
            return column.astype("Int64")
    if column.dtype.kind in "biuf" or observed.map(lambda value: isinstance(value, bool)).all():
        return column if len(observed) or not as_text else raw.mask(raw == "")
    if not as_text and str(observed.iloc[0])[:1].isdigit():
        try:
            return pd.to_datetime(column, format="ISO8601")
        except (ValueError, TypeError):
            pass
    # "NA" may be a country: of text only an empty field is missing.
    return raw.mask(raw == "")


def _check_names(path, names):
    twice = [name for name, n in Counter(names).items() if n > 1]
    if twice:
        raise CommandError(
            f"{path} has columns of the same name, such as {twice[0]!r}. Rename them."
        )


def unknown_column(path, name, names):
    """The message for a column that a table does not have."""
    return f"{path} has no column {name!r}. It has {', '.join(map(repr, list(names)[:12]))}" + (
        ", ..." if len(names) > 12 else "."
    )


def _read_binary(path, kind):
    with open(path, "rb") as file:
        try:
            if kind == "parquet":
                return pd.read_parquet(file)
            return pd.read_feather(file)
        except ImportError as error:
            raise CommandError(_NO_ARROW) from error
        except Exception as error:
            raise CommandError(f"{path} is no {kind.capitalize()} file: {error}") from error


_NO_ARROW = "Parquet and Arrow need pyarrow: pip install 'gudlearn[stream]'."


def write_table(frame, path, index=False):
    """Write a DataFrame: all of it, or nothing.

    Parameters
    ----------
    frame : DataFrame
    path : str
        A file, replaced if it exists, or "-" for CSV on standard output.
    index : bool
        Whether the index is a column of CSV.
    """
    kind, buffer = format_of(path), io.BytesIO()
    try:
        if kind == "csv":
            frame.to_csv(buffer, index=index, sep="\t" if path.lower().endswith(".tsv") else ",")
        elif kind == "parquet":
            frame.to_parquet(buffer)
        else:
            (frame.reset_index() if index else frame).to_feather(buffer)
    except ImportError as error:
        raise CommandError(_NO_ARROW) from error
    write_bytes(path, buffer.getvalue())


def write_bytes(path, data):
    """Write bytes to a file, all of them or none, or to standard output."""
    if path == _STREAM:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    try:
        with replaced(path) as file:
            file.write(data)
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror or error}.") from error


def check_columns(frame, kept=()):
    """Raise a `CommandError` if a column holds free text or names of rows.

    Parameters
    ----------
    frame : DataFrame
    kept : list of str
        Columns whose values are levels in any case.
    """
    for name in frame.columns:
        values = frame[name].dropna()
        if name in kept or len(values) < _FEWEST or not isinstance(values.iloc[0], str):
            continue
        n_distinct, n_words = values.nunique(), values.str.count(" ").mean() + 1
        if n_distinct == len(values) or (n_words >= _WORDS and 2 * n_distinct > len(values)):
            raise CommandError(
                f"Column {name!r} holds {n_distinct} different texts in {len(values)} rows, such "
                f"as {values.iloc[0][:40]!r}: free text, or names of rows, which have no "
                f"distribution to learn. Leave it out with --drop {name!r}, or keep its values as "
                f"levels with --category {name!r}."
            )
