"""Checks of scores: means, rows by themselves, units, integrals, sums, and a known truth."""

import numpy as np
import pandas as pd
from scipy import stats

from gudlearn.testing.datasets import COVARIANCE, FACTORS, LEVELS, MEAN, gaussian, truth
from gudlearn.testing.interface import SCORE_ATOL
from gudlearn.testing.running import require
from gudlearn.testing.samples import ERRORS

# A lower bound of the log-density integrates to less than one: by how much it may.
LOOSENESS = 0.1
# Errors of quadrature and of densities that are themselves averages over noise.
SLACK = 0.02
# Nats for each column by which two fits to the same rows in other units may differ.
UNITS_ATOL = 0.1


def check_score_is_a_mean(case):
    """score is the mean of score_samples, which has one finite entry for each row."""
    case.needs("density")
    model, X = case.fitted("gaussian"), case.data("gaussian")[:40]
    scores = np.asarray(model.score_samples(X))
    require(
        scores.shape == (40,),
        f"score_samples of 40 rows must be of shape (40,), but is of shape {scores.shape}.",
    )
    require(np.isfinite(scores).all(), "score_samples of training rows must be finite.")
    score = model.score(X)
    require(
        np.ndim(score) == 0 and np.isclose(score, scores.mean(), rtol=SCORE_ATOL, atol=SCORE_ATOL),
        f"score must be the mean of score_samples, {scores.mean():g}, but is {score!r}.",
    )


def check_score_rows(case):
    """The score of a row depends on that row alone: not on order, other rows or earlier calls."""
    case.needs("density")
    model, X = case.fitted("gaussian"), case.data("gaussian")[:30]
    scores = np.asarray(model.score_samples(X))
    order = np.random.default_rng(case.seed).permutation(len(X))
    doubled = np.concatenate([X, X])
    for what, found, expected in (
        ("in a second call", model.score_samples(X), scores),
        ("in another order of rows", model.score_samples(X[order]), scores[order]),
        ("in a subset of the rows", model.score_samples(X[3:9]), scores[3:9]),
        ("by itself", model.score_samples(X[4:5]), scores[4:5]),
        ("beside copies of all rows", model.score_samples(doubled)[30:], scores),
    ):
        difference = np.abs(np.asarray(found) - expected).max()
        require(
            difference <= SCORE_ATOL * (1 + np.abs(scores).max()),
            f"The score of a row differs {what}, by {difference:g} nats. Key its random numbers by "
            "the row, and take no statistics from X in score_samples.",
        )


def check_score_units(case):
    """In other units of X the log-density changes by -log|factor| for each column."""
    case.needs("density")
    before = np.asarray(case.fitted("gaussian").score_samples(case.data("gaussian")))
    after = np.asarray(case.fitted("rescaled").score_samples(case.data("rescaled")))
    difference = after - before + np.log(FACTORS).sum()
    allowed = UNITS_ATOL * len(FACTORS) + ERRORS * difference.std() / np.sqrt(len(difference))
    require(
        abs(difference.mean()) < allowed,
        f"Columns were multiplied by {FACTORS.tolist()}, which must lower scores by "
        f"{np.log(FACTORS).sum():.3f} nats; they changed by {(after - before).mean():.3f}. Score "
        "in the units of the X that was passed: add the log-determinant of what fit does to it.",
    )


def check_density_of_a_column(case):
    """The density of one column integrates to one, or little less if scores are a lower bound."""
    case.needs("density")
    X, model = case.data("line"), case.fitted("line")
    # Twelve standard deviations to each side, forty points to a standard deviation.
    grid = X.mean() + X.std() * np.linspace(-12, 12, 961)
    density = np.exp(np.asarray(model.score_samples(grid[:, None])))
    total = np.trapezoid(density, grid)
    # Second differences hold the noise of the scores, six times its variance, and no slow part.
    noise = np.sqrt(np.mean(np.diff(density, 2) ** 2) / 6)
    error = noise * (grid[1] - grid[0]) * np.sqrt(len(grid))
    require_one(total, error, "The density of one normal column integrates to")


def require_one(total, error, what):
    """Raise unless a total is one, up to its standard error and the slack of a lower bound."""
    low, high = 1 - LOOSENESS - ERRORS * error, 1 + SLACK + ERRORS * error
    require(
        low <= total <= high,
        f"{what} {total:.4f}, standard error {error:.4f}; it must be between {low:.3f} and "
        f"{high:.3f}. Scores must be log-densities in nats, with every constant.",
    )


def check_density_of_rows(case):
    """The density of three columns integrates to one, by importance sampling."""
    case.needs("density")
    model = case.fitted("gaussian")
    # Heavier tails than the density's, so that weights have a variance.
    proposal = stats.multivariate_t(MEAN, 1.3 * COVARIANCE, df=6, seed=case.seed)
    rows = proposal.rvs(800)
    weights = np.exp(np.asarray(model.score_samples(rows)) - proposal.logpdf(rows))
    require_one(
        weights.mean(), weights.std() / np.sqrt(len(rows)),
        "The density of three normal columns integrates to",
    )  # fmt: skip


def check_density_below_truth(case):
    """On new rows of a known distribution the mean log-density is not above the true one."""
    case.needs("density")
    rows = gaussian(case.seed + 1, 800)
    excess = np.asarray(case.fitted("gaussian").score_samples(rows)) - truth().logpdf(rows)
    error = excess.std() / np.sqrt(len(rows))
    require(
        excess.mean() <= ERRORS * error + SCORE_ATOL,
        f"The mean score of new rows is {excess.mean():.4f} nats above the log-density of the "
        f"distribution they come from, standard error {error:.4f}. No density can be: by Gibbs' "
        "inequality the true one is best.",
    )


def check_probabilities_of_categories(case):
    """Scores of categories are log-probabilities: over all combinations they sum to one."""
    case.needs("density")
    case.needs("frames")
    X = case.data("categories")
    cells = pd.MultiIndex.from_product(LEVELS, names=X.columns).to_frame(index=False)
    cells = cells.astype(X.dtypes)
    log_probabilities = np.asarray(case.fitted("categories").score_samples(cells))
    _require_probabilities(log_probabilities, "the six combinations of levels")


def _require_probabilities(log_probabilities, what):
    require(
        log_probabilities.max() <= SLACK,
        f"A probability is {np.exp(log_probabilities.max()):.4f}, above one, among {what}.",
    )
    require_one(np.exp(log_probabilities).sum(), 0.0, f"Probabilities of {what} sum to")


def check_integers(case):
    """Scores of whole numbers are probabilities that sum to one, or a density that integrates to
    one."""
    case.needs("density")
    model = case.fitted("integers")
    values = np.arange(-20, 31)[:, None]
    total = np.exp(np.asarray(model.score_samples(values))).sum()
    if abs(total - 1) <= SLACK:
        return
    grid = np.linspace(-10, 15, 2001)
    integral = None
    try:
        density = np.exp(np.asarray(model.score_samples(grid[:, None])))
        integral = np.trapezoid(density, grid)
    except (TypeError, ValueError):
        # An estimator of whole numbers may refuse others.
        pass
    require(
        1 - LOOSENESS <= total <= 1 + SLACK
        or integral is not None
        and 1 - LOOSENESS <= integral <= 1 + SLACK,
        f"After a fit to whole numbers exp(score) sums to {total:.4f} over whole numbers"
        + (f", and integrates to {integral:.4f}" if integral is not None else "")
        + ". It must be a probability of each whole number, or a density: one of both is 1.",
    )


CHECKS = [
    check_score_is_a_mean,
    check_score_rows,
    check_score_units,
    check_density_of_a_column,
    check_density_of_rows,
    check_density_below_truth,
    check_probabilities_of_categories,
    check_integers,
]
