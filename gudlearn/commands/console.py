"""What commands say: on standard error, because standard output may carry a table."""

import contextlib
import sys


def note(options, text):
    """Tell the user what is done, unless ``--quiet`` was passed."""
    if not options.quiet:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def say(text):
    """Write the answer of a command to standard output."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def progress():
    """A context manager: what a model shows while it computes goes to standard error."""
    return contextlib.redirect_stdout(sys.stderr)
