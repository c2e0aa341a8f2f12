"""What a report measures: a name, what is ideal, what is poor, and a function of one sample."""

from collections.abc import Callable
from dataclasses import dataclass

#: The ideal of a metric that chance keeps from zero or one.
AS_HELD_OUT = "as held-out"


@dataclass(frozen=True)
class Metric:
    """One line of a report.

    Parameters
    ----------
    key : str
        Its name in frames.
    label : str
        Its name in tables and on pages.
    best : {"low", "high"} or float
        Whether small or large values are good, or the value that is.
    ideal : str
        What rows of the right distribution have, in a word.
    poor : float or None
        How much worse than that of held-out rows a poor value is. None: half of the way to the
        value of independent columns.
    about : str
        What it is, in a sentence.
    compute : callable
        Maps a context and the name of a sample to an `Estimate`.
    form : str, default=".3f"
        How values are written.
    graded : bool, default=True
        Whether a value can be called good or poor.
    """

    key: str
    label: str
    best: str | float
    ideal: str
    poor: float | None
    about: str
    compute: Callable
    form: str = ".3f"
    graded: bool = True

    def badness(self, value):
        """A number that is large if a value is poor."""
        if self.best == "low":
            return value
        return -value if self.best == "high" else abs(value - self.best)


class Context:
    """What the metrics of one report share.

    Parameters
    ----------
    samples : Samples
    seed : int
        Of every metric that draws random numbers.
    options : dict
        What only some metrics need.
    """

    def __init__(self, samples, seed, **options):
        self.samples = samples
        self.seed = seed
        self.options = options
        self._made = {}

    def once(self, key, make):
        """What `make` returns, made once for a key."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]
