"""A factor chosen on held-out rows."""

import numpy as np
import pytest
from scipy.stats import norm

from gudlearn.model.calibration import best_factor


@pytest.mark.parametrize("std", [0.6, 1.0, 1.7])
def test_the_factor_is_that_of_the_largest_posterior_density(std):
    n = 4000
    # Quantiles in place of draws: the largest likelihood is that of their standard deviation.
    y = std * norm.ppf((np.arange(n) + 0.5) / n)
    found = best_factor(lambda factor: norm.logpdf(y, scale=factor), n)
    # The grid has steps of 5 %.
    assert found == pytest.approx(std, rel=0.03)


def test_few_rows_change_little_or_nothing():
    y = np.full(19, 3.0)
    assert best_factor(lambda factor: norm.logpdf(y, scale=factor), 19) == 1
    flat = best_factor(lambda factor: np.zeros(50), 50)
    assert flat == pytest.approx(1)
