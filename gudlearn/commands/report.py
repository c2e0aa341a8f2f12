"""``gudlearn report``: sampled rows judged beside rows that were held out."""

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
    train, test, fake = (
        read_table(path, options) for path in (options.train, options.test, options.fake)
    )
    if options.target is not None and options.target not in train.columns:
        raise CommandError(unknown_column(options.train, options.target, train.columns))
    from gudlearn.metrics import report

    with progress():
        found = report(train, test, fake, target=options.target, random_state=options.seed)
    say(str(found))
    if options.output is not None:
        found.save(options.output)
        note(options, f"The page: {options.output}")
