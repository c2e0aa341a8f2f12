"""The samples of a report: real rows to compare with, fake rows, and oracles beside them."""

from dataclasses import dataclass, field, replace

import numpy as np

from gudlearn.metrics.mixed import read_tables
from gudlearn.metrics.reporting.oracles import independent, mixture_images, mixture_rows

FAKE = "fake rows"
HELD_OUT = "held-out rows"
COPY = "training rows"
INDEPENDENT = "independent columns"
MIXTURE = "shallow mixture"
#: The samples of a report in their order, and what each is.
SAMPLES = {
    FAKE: "the rows that are judged",
    HELD_OUT: "the other half of the test rows: what an ideal generator reaches",
    COPY: "a copy of training rows: perfect but for what a copy gives away",
    INDEPENDENT: "training rows with each column shuffled by itself: margins and no dependence",
    MIXTURE: "a mixture model of the training rows that is fitted in seconds",
}
#: Fewer rows of a sample than this make no report.
LEAST_ROWS = 10
# Rows that are read at most of each sample; copies are searched for among these training rows.
_MOST_READ = 200_000


@dataclass(frozen=True, eq=False)
class Samples:
    """What a report compares.

    Parameters
    ----------
    train : MixedTable or ndarray of shape (n_read, ...)
        The training rows that were read, in random order.
    train_used : MixedTable or ndarray of shape (n, ...)
        The first of them, as many as every other sample has.
    reference : MixedTable or ndarray of shape (n, ...)
        One half of the test rows, which every sample is compared with.
    judged : dict of str to MixedTable or ndarray of shape (n, ...)
        The fake rows and the oracles; those that could not be made are in `failures`.
    failures : dict of str to str
        Why an oracle could not be made.
    n_rows : dict of str to int
        Numbers of rows that were passed.
    """

    train: object
    train_used: object
    reference: object
    judged: dict
    n_rows: dict
    failures: dict = field(default_factory=dict)

    @property
    def n(self):
        """Number of rows of each sample."""
        return len(self.reference)


def table_samples(train, test, fake, max_rows, rng):
    """Samples of mixed frames, coded alike; see `report`."""
    tables = read_tables(_MOST_READ, rng, train=train, test=test, fake=fake)
    return _divided(tables, max_rows, rng, take_rows, independent, mixture_rows)


def array_samples(train, test, fake, max_rows, rng):
    """Samples of images or rows of numbers, as they are; see `report`."""
    arrays = [
        _array(name, X)
        for name, X in zip(("train", "test", "fake"), (train, test, fake), strict=True)
    ]
    shapes = {X.shape[1:] for X in arrays}
    if len(shapes) > 1:
        raise ValueError(
            f"train, test and fake have rows of different shapes: "
            f"{[X.shape[1:] for X in arrays]}. Pass images of one shape."
        )
    return _divided(arrays, max_rows, rng, take_images, independent_pixels, mixture_images)


def _array(name, X):
    X = np.asarray(X)
    if X.dtype == object or X.ndim < 2:
        raise ValueError(
            f"{name} of shape {X.shape} and dtype {X.dtype} is no array of images or of rows of "
            "numbers. Frames are compared column by column: leave features out."
        )
    return X


def _divided(samples, max_rows, rng, take, shuffle, fit_mixture):
    """Draw equally many rows of each sample, and make the oracles."""
    names = ("train", "test", "fake")
    n_rows = {
        name: getattr(sample, "n_rows", len(sample))
        for name, sample in zip(names, samples, strict=True)
    }
    for name, sample in zip(names, samples, strict=True):
        if len(sample) < LEAST_ROWS:
            raise ValueError(
                f"{name} has {len(sample)} rows, but a report needs at least {LEAST_ROWS} of each "
                "sample: it compares distributions. Pass more rows."
            )
    train, test, fake = samples
    n = min(max_rows, len(train), len(test) // 2, len(fake))
    order = rng.permutation(len(test))
    train = take(train, rng.permutation(len(train)))
    used = take(train, np.arange(n))
    judged = {
        FAKE: take(fake, rng.permutation(len(fake))[:n]),
        HELD_OUT: take(test, order[n : 2 * n]),
        COPY: used,
        INDEPENDENT: shuffle(used, rng),
    }
    failures, seed = {}, int(rng.integers(2**31))
    try:
        judged[MIXTURE] = fit_mixture(used, n, seed)
    except Exception as error:  # an oracle that cannot be made leaves the others
        failures[MIXTURE] = reason(error)
    return Samples(train, used, take(test, order[:n]), judged, n_rows, failures)


def reason(error):
    """What an error says, in one line."""
    return " ".join(str(error).split()) or type(error).__name__


def take_rows(table, rows):
    """The given rows of a table."""
    return replace(table, X=table.X[rows])


def take_images(X, rows):
    """The given images."""
    return X[rows]


def independent_pixels(X, rng):
    """Images whose pixels are those of other images, each drawn by itself."""
    flat = X.reshape(len(X), -1)
    return rng.permuted(flat, axis=0).reshape(X.shape)
