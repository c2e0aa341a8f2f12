"""Progress on standard output: the only place of the package that prints while it computes.

On a terminal one line is rewritten. Elsewhere, in a file or a notebook, lines are added.
"""

import shutil
import sys
import time

# Seconds after which sampling and scoring show how far they are.
_PATIENCE = 5.0
# Seconds between two texts on a line that is rewritten.
_REFRESH = 0.2


def duration(seconds):
    """Seconds as text: "7 s", "3:20 min" or "1:02:03 h"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02}:{rest:02} h"
    return f"{minutes}:{rest:02} min" if minutes else f"{rest} s"


class Line:
    """A line of text that is rewritten on a terminal; lines that are added elsewhere.

    Attributes
    ----------
    is_rewritten : bool
        Whether standard output is a terminal.
    """

    def __init__(self):
        self.is_rewritten = sys.stdout is not None and sys.stdout.isatty()
        self._length, self._next = 0, 0.0

    def due(self):
        """Whether the line may be rewritten: not more often than eyes can follow."""
        return self.is_rewritten and time.monotonic() >= self._next

    def rewrite(self, text):
        """Put a text in place of the last one; on a terminal only."""
        text = text[: max(shutil.get_terminal_size().columns - 1, 1)]
        print("\r" + text.ljust(self._length), end="", flush=True)
        self._length, self._next = len(text), time.monotonic() + _REFRESH

    def add(self, text):
        """Add a line that stays."""
        self.close()
        print(text, flush=True)

    def close(self):
        """End a line that was rewritten."""
        if self._length:
            print(flush=True)
        self._length = 0


class Progress:
    """How many of n rows are done, shown if it takes more than five seconds; a context manager.

    Parameters
    ----------
    verb : str
        "sampled" or "scored".
    n : int
        Rows.
    verbose : int
        0 shows nothing.
    """

    def __init__(self, verb, n, verbose):
        self.verb, self.n, self.verbose = verb, n, verbose
        self._start, self._line, self._next, self._done = time.monotonic(), None, _PATIENCE, 0

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self._line is not None:
            self._line.close()

    def of_part(self, n, n_steps):
        """A function of the number of steps that the next n rows have gone, of n_steps."""
        before = self._done
        return lambda k, *state: self(before + n * min(k / n_steps, 1))

    def __call__(self, done):
        """Show that a number of rows, perhaps not whole, is done."""
        self._done, spent = done, time.monotonic() - self._start
        if not self.verbose or spent < _PATIENCE or not 0 < done:
            return
        if self._line is None:
            self._line = Line()
        line, done = self._line, min(done, self.n)
        if line.is_rewritten:
            if line.due() or done == self.n:
                line.rewrite(self._text(done, spent))
        elif spent >= self._next:
            line.add(self._text(done, spent))
            # Fewer and fewer lines: the time to the end is known better and better.
            self._next = 2 * spent

    def _text(self, done, spent):
        left = duration(spent * (self.n - done) / done)
        return f"{self.verb} {int(done)} of {self.n} rows, {duration(spent)}, {left} left"
