"""``gudlearn demo``: the digits, judged beside three simple peers.

The demo fits the handwritten digits that come with scikit-learn, compares the log-probability of
held-out rows with three baselines, and writes figures.
"""

import argparse
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KernelDensity
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from gudlearn.commands.errors import CommandError
from gudlearn.generator import GUDGenerator
from gudlearn.plotting import LossCurveDisplay, SampleGridDisplay, ScheduleDisplay

N_LEVELS = 17  # the digits are whole numbers from 0 to 16

PSEUDO_COUNTS = (0.01, 0.03, 0.1, 0.3, 1.0)
BANDWIDTHS = tuple(np.geomspace(0.25, 1.0, 10))
MIXTURES = tuple(
    (covariance_type, n_components, reg_covar)
    for covariance_type, sizes in (("full", (1, 5, 10, 20, 40)), ("diag", (40, 80)))
    for n_components in sizes
    for reg_covar in (0.01, 0.1)
)


class Histograms:
    """Independent histograms of the columns, smoothed by a pseudo-count.

    Parameters
    ----------
    pseudo_count : float
        Added to the count of every level.
    """

    def __init__(self, pseudo_count):
        self.pseudo_count = pseudo_count

    def fit(self, X):
        """Count the levels of each column of ``X``, whole numbers of shape (n, F)."""
        counts = np.stack([(X == level).sum(axis=0) for level in range(N_LEVELS)], axis=1)
        counts = counts + self.pseudo_count
        self.log_probabilities_ = np.log(counts / counts.sum(axis=1, keepdims=True))
        return self

    def score_samples(self, X):
        """Return the log-probability of each row, shape (n,)."""
        columns = np.arange(X.shape[1])
        return self.log_probabilities_[columns, X.astype(int)].sum(axis=1)


class Dequantized:
    """A density estimator on standardised rows with uniform noise of one level added.

    The mean log-density of noisy rows is a lower bound on the log-probability of the rows. Columns
    that do not vary in training carry no noise: their histogram scores them.

    Parameters
    ----------
    estimator : estimator with ``fit`` and ``score_samples``
        The density estimator.

    n_copies : int, default=4
        Draws of the noise, in training and in scoring.
    """

    def __init__(self, estimator, n_copies=4):
        self.estimator = estimator
        self.n_copies = n_copies

    def fit(self, X):
        """Fit the scaler and the estimator to ``n_copies`` noisy copies of ``X``."""
        self.varies_ = X.std(axis=0) > 0
        self.constants_ = Histograms(1.0 / N_LEVELS).fit(X[:, ~self.varies_])
        rows = np.concatenate(self._noisy_copies(X[:, self.varies_], seed=0))
        self.scaler_ = StandardScaler().fit(rows)
        self.estimator.fit(self.scaler_.transform(rows))
        return self

    def score_samples(self, X):
        """Return a lower bound on the log-probability of each row, shape (n,)."""
        copies = self._noisy_copies(X[:, self.varies_], seed=1)
        densities = [self.estimator.score_samples(self.scaler_.transform(rows)) for rows in copies]
        varying = np.mean(densities, axis=0) - np.log(self.scaler_.scale_).sum()
        return varying + self.constants_.score_samples(X[:, ~self.varies_])

    def _noisy_copies(self, X, seed):
        rng = np.random.default_rng(seed)
        return [X + rng.uniform(-0.5, 0.5, X.shape) for _ in range(self.n_copies)]


def bits_per_dim(estimator, X):
    """Return the mean negative log-probability of ``X`` in bits per column."""
    return -estimator.score_samples(X).mean() / (X.shape[1] * np.log(2))


def fit_best(make, candidates, X, stratify):
    """Choose among the candidates on a fifth of ``X``, then fit the choice to all of ``X``.

    Returns
    -------
    estimator : the fitted choice
    candidate : the chosen one
    seconds : float
        Time of the choice and of the last fit.
    """
    start = time.perf_counter()
    train, validation = train_test_split(X, test_size=0.2, stratify=stratify, random_state=0)
    # Matrices this small are slower, and on a busy machine far slower, on several threads.
    with threadpool_limits(1):
        losses = [bits_per_dim(make(candidate).fit(train), validation) for candidate in candidates]
        candidate = candidates[int(np.argmin(losses))]
        best = make(candidate).fit(X)
    return best, candidate, time.perf_counter() - start


def make_mixture(candidate):
    """Return the Gaussian mixture of a (covariance type, components, regularisation) triple."""
    covariance_type, n_components, reg_covar = candidate
    mixture = GaussianMixture(
        n_components, covariance_type=covariance_type, reg_covar=reg_covar, random_state=0
    )
    return Dequantized(mixture)


def make_kernel_density(bandwidth):
    """Return the kernel density estimator of a bandwidth."""
    return Dequantized(KernelDensity(bandwidth=bandwidth))


def fit_generator(X, max_time):
    """Fit gudlearn with its defaults and a progress bar.

    Returns
    -------
    generator : the fitted GUDGenerator
    seconds : float
    """
    from sklearn.callback import ProgressBar

    # The default number of epochs for these rows, and on a slow machine at most max_time.
    generator = GUDGenerator(bin_width=1.0, max_iter=500, max_time=max_time, random_state=0)
    generator.set_callbacks(ProgressBar())
    start = time.perf_counter()
    generator.fit(X)
    seconds = time.perf_counter() - start
    return generator.set_callbacks(), seconds


def print_table(rows):
    """Print (model, bits per dimension, seconds, note) rows."""
    print(f"{'model':<26}{'bits/dim':>10}{'seconds':>10}   chosen on a validation split")
    for model, bits, seconds, note in rows:
        print(f"{model:<26}{bits:>10.3f}{seconds:>10.1f}   {note}")


def write_figures(generator, X_test, output):
    """Write figures of a fitted generator as PNG files.

    Returns
    -------
    figures : list of (str, Path)
        Description and path of each figure.
    """
    output.mkdir(parents=True, exist_ok=True)
    displays = [
        (
            "real and generated digits",
            "digits.png",
            SampleGridDisplay.from_estimator(
                generator, X_test, shape=(8, 8), random_state=0, name="generated"
            ),
        ),
        ("the schedule", "schedule.png", ScheduleDisplay.from_estimator(generator)),
    ]
    # A time limit too short for one epoch leaves no curve.
    if len(generator.loss_curve_):
        curve = LossCurveDisplay.from_estimator(generator)
        displays.append(("the loss curve", "loss_curve.png", curve))
    figures = []
    for description, file_name, display in displays:
        path = output / file_name
        display.figure_.savefig(path, dpi=150)
        figures.append((description, path))
    return figures


def demo(output, max_time):
    """Fit the digits, print the table and write the figures."""
    import matplotlib

    matplotlib.use("Agg")
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, _ = train_test_split(X, y, test_size=0.2, stratify=y, random_state=0)
    print(
        f"Handwritten digits: {len(X_train)} training images, {len(X_test)} held out, "
        "8 x 8 pixels of 17 levels.\n"
    )
    print(f"Fitting gudlearn, at most {max_time:g} seconds ...", flush=True)
    generator, seconds = fit_generator(X_train, max_time)
    rows = [("gudlearn", generator.bits_per_dim(X_test), seconds, "")]

    print("Fitting and tuning the baselines ...\n", flush=True)
    best, choice, seconds = fit_best(make_mixture, MIXTURES, X_train, y_train)
    note = "{1} components, {0} covariance, reg_covar {2:g}".format(*choice)
    rows.append(("Gaussian mixture", bits_per_dim(best, X_test), seconds, note))
    best, choice, seconds = fit_best(make_kernel_density, BANDWIDTHS, X_train, y_train)
    rows.append(("kernel density", bits_per_dim(best, X_test), seconds, f"bandwidth {choice:.2f}"))
    best, choice, seconds = fit_best(Histograms, PSEUDO_COUNTS, X_train, y_train)
    note = f"pseudo-count {choice:g}"
    rows.append(("independent histograms", bits_per_dim(best, X_test), seconds, note))

    print_table(rows)
    print(
        "\nBits per pixel of the held-out images, fewer are better; seconds include the tuning.\n"
        "The mixture and the kernel density see standardised pixels with uniform noise added.\n"
    )
    for description, path in write_figures(generator, X_test, output):
        print(f"{description:<26}{path}")


def positive_seconds(text):
    """Parse a number of seconds for argparse."""
    seconds = float(text)
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a positive number, got {text}")
    return seconds


def add_parser(commands, parents):
    """Add the command to a parser."""
    parser = commands.add_parser(
        "demo", parents=parents, help="fit the digits, compare with three baselines, write figures",
        description="Fit the digits, compare with three baselines, write figures.",
    )  # fmt: skip
    parser.add_argument(
        "--output", type=Path, default=Path("gud-demo"), metavar="DIR",
        help="folder of the figures (default: gud-demo)",
    )  # fmt: skip
    parser.add_argument(
        "--seconds", type=positive_seconds, default=90.0, metavar="S",
        help="time limit of gudlearn's training (default: 90)",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(options):
    """Run the demo."""
    missing = [package for package in ("matplotlib", "rich") if find_spec(package) is None]
    if missing:
        raise CommandError(
            f"it needs {' and '.join(missing)}. Install with: pip install 'gudlearn[plot]'"
        )
    demo(options.output, options.seconds)
