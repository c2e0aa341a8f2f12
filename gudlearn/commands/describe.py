"""Commands beside models: ``describe`` what is in a file, ``split`` rows to train and to test."""

import numpy as np

from gudlearn.commands.console import note, say
from gudlearn.commands.errors import CommandError
from gudlearn.commands.files import check_output, read_raw, write_table
from gudlearn.commands.models import read_model, target_of


def add_parsers(commands, parents):
    """Add the commands to a parser."""
    describe = commands.add_parser(
        "describe", parents=parents, help="show what a model is",
        description="Show the kind of a model, its columns and how it was trained.",
    )  # fmt: skip
    describe.add_argument("model", help="file that fit has written")
    describe.set_defaults(run=_describe)

    split = commands.add_parser(
        "split", parents=parents, help="divide rows into training and test rows",
        description="Divide a table at random into rows to fit to and rows to judge by.",
    )  # fmt: skip
    split.add_argument("data", help="CSV, Parquet or Arrow; - is CSV from standard input")
    split.add_argument(
        "-o", "--output", nargs=2, required=True, metavar=("TRAIN", "TEST"), help="the two files"
    )
    split.add_argument(
        "--test", type=float, default=0.2, metavar="FRACTION", help="of the rows (default: 0.2)"
    )
    split.add_argument("--seed", type=int, default=0, help="of the random order (default: 0)")
    split.set_defaults(run=_split)


def _describe(options):
    model = read_model(options.model)
    generator = getattr(model, "generator_", None) or model
    say(f"{type(model).__name__} of {model.n_features_in_} columns")
    if target_of(model) is not None:
        say(f"It predicts {target_of(model)}.")
    if hasattr(generator, "n_iter_"):
        say(
            f"{generator.n_parameters_} weights, {generator.n_iter_} epochs, schedule "
            f"{type(generator.schedule_).__name__}, basis {type(generator.basis_).__name__}"
        )
    best = getattr(generator, "best_validation_score_", None)
    if best is not None:
        say(f"Held-out rows: {best:.5g} nats per dimension")
    if hasattr(model, "offset_"):
        say(f"Rows with a score below {model.offset_:.4g} are outliers.")
    if getattr(generator, "schema_", None) is not None:
        say(f"\n{generator.schema_}")


def _split(options):
    train, test = options.output
    if train == test:
        raise CommandError(f"-o {train} {test}: pass two files.")
    for path in options.output:
        check_output(path, options.force)
    if not 0 < options.test < 1:
        raise CommandError(f"--test {options.test}: pass a fraction between 0 and 1.")
    frame = read_raw(options.data, options)
    n_test = round(options.test * len(frame))
    if not 0 < n_test < len(frame):
        raise CommandError(
            f"{options.data} has {len(frame)} rows: too few for --test {options.test}."
        )
    order = np.random.default_rng(options.seed).permutation(len(frame))
    # Rows keep the order that they have in the file.
    write_table(frame.iloc[np.sort(order[n_test:])], train)
    write_table(frame.iloc[np.sort(order[:n_test])], test)
    note(options, f"{len(frame) - n_test} rows: {train}\n{n_test} rows: {test}")
