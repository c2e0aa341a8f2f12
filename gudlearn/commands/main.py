"""The parser of the command line, and what becomes of errors."""

import argparse
import os
import sys
import traceback
import warnings

from gudlearn._versions import own_version
from gudlearn.commands import answers, demo, describe, fit, report
from gudlearn.commands.errors import CommandError

FAILED, USAGE, INTERRUPTED = 1, 2, 130


def make_parser():
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="gudlearn", description="Diffusion models of tables: fit, sample, score, impute, "
        "predict, and find outliers.",
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"gudlearn {own_version()}")
    commands = parser.add_subparsers(dest="command", title="commands", metavar="command")
    shared = argparse.ArgumentParser(add_help=False)
    group = shared.add_argument_group("of every command")
    group.add_argument("--force", action="store_true", help="replace files that exist")
    group.add_argument("--quiet", action="store_true", help="say nothing but errors")
    group.add_argument("--debug", action="store_true", help="show where in the code an error arose")
    group.add_argument("--separator", metavar="S", help="of fields of CSV (default: a comma)")
    group.add_argument("--encoding", default="utf-8-sig", help="of CSV (default: UTF-8)")
    for module in (fit, answers, report, describe, demo):
        getattr(module, "add_parsers", getattr(module, "add_parser", None))(commands, [shared])
    return parser


def main(argv=None):
    """Run the command line.

    Parameters
    ----------
    argv : list of str or None
        None takes the arguments of the process.

    Returns
    -------
    int
        0, 1 if the command failed, 2 if it was called wrongly, 130 if it was interrupted.
    """
    parser = make_parser()
    try:
        options = parser.parse_args(argv)
    except SystemExit as end:
        return end.code
    if options.command is None:
        parser.print_help()
        return 0
    try:
        with warnings.catch_warnings():
            if not options.debug:
                warnings.simplefilter("ignore")
                warnings.filterwarnings("default", category=UserWarning)
                warnings.showwarning = _show_warning
            options.run(options)
        return 0
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted: nothing was written.\n")
        return INTERRUPTED
    except BrokenPipeError:
        # Who read standard output has seen enough; the interpreter must not try to flush it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if options.debug:
            traceback.print_exc()
        name = "" if isinstance(error, CommandError) else _kind(error)
        sys.stderr.write(f"gudlearn {options.command}: {name}{error}\n")
        return FAILED


def _kind(error):
    """The kind of an error whose text does not explain itself."""
    explains = isinstance(error, ValueError | TypeError | OSError | ImportError) and str(error)
    return "" if explains else f"{type(error).__name__}: "


def _show_warning(message, category, filename, lineno, file=None, line=None):
    sys.stderr.write(f"Note: {message}\n")
