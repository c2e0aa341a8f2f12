"""``gudlearn report``: sampled rows judged beside rows that were held out."""

from pandas.api.types import is_datetime64_any_dtype, is_numeric_dtype

from gudlearn.commands.console import note, progress, say
from gudlearn.commands.errors import CommandError
from gudlearn.commands.files import check_output, read_table, unknown_column


def add_parser(commands, parents):
    """Add the command to a parser."""
    parser = commands.add_parser(
        "report", parents=parents, help="judge sampled rows",
        description="Judge sampled rows beside held-out rows, copies of the training rows, "
        "independent columns and a shallow mixture. Rows of TEST must not have been fitted to; "
        "'gudlearn split' makes them.",
    )  # fmt: skip
    parser.add_argument("train", help="rows that the model was fitted to")
    parser.add_argument("test", help="rows that it was not fitted to")
    parser.add_argument("fake", help="rows that it sampled")
    parser.add_argument("-o", "--output", metavar="HTML", help="file of the page")
    parser.add_argument("--target", metavar="COLUMN", help="the column that matters most")
    parser.add_argument("--seed", type=int, default=0, help="of subsamples (default: 0)")
    parser.set_defaults(run=run)


def run(options):
    """Compute a report, show it, and write its page."""
    if options.output is not None:
        if not options.output.lower().endswith((".html", ".htm")):
            raise CommandError(f"-o {options.output}: the page is HTML; pass a name with .html.")
        check_output(options.output, options.force)
    train, test, fake = _read(options)
    if options.target is not None and options.target not in train.columns:
        raise CommandError(unknown_column(options.train, options.target, train.columns))
    from gudlearn.metrics import report

    with progress():
        found = report(train, test, fake, target=options.target, random_state=options.seed)
    say(str(found))
    if options.output is not None:
        found.save(options.output)
        note(options, f"The page: {options.output}")


def _read(options):
    """The three tables, with the columns of the sampled rows and the same types."""
    paths = options.train, options.test, options.fake
    tables = [read_table(path, options) for path in paths]
    types = [table.dtypes for table in tables]
    texts = {n for found in types for n, t in found.items() if not _is_number_or_date(t)}
    if any(is_numeric_dtype(found[n]) for found in types for n in texts & set(found.index)):
        # Codes of which one sample has no leading zero.
        tables = [read_table(p, options, as_text=texts, all_of_them=False) for p in paths]
    lacking = [name for name in tables[0].columns if name not in tables[2].columns]
    if lacking and len(lacking) < len(tables[0].columns):
        note(options, f"Not in {options.fake}, and left out: {', '.join(lacking)}.")
        tables = [table.drop(columns=lacking, errors="ignore") for table in tables]
    return tables


def _is_number_or_date(dtype):
    return is_numeric_dtype(dtype) or is_datetime64_any_dtype(dtype)
