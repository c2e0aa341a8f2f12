"""What holds for every test and every doctest: one thread, no window, and a salt of the noise."""

import os

# Read once, when the numerical libraries and matplotlib are first imported.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"
os.environ["MPLBACKEND"] = "Agg"

import pytest
import torch

torch.set_num_threads(1)


def pytest_addoption(parser):
    """Add the option that changes all keyed noise and every seed of training."""
    parser.addoption(
        "--salt", type=int, default=0, help="mixed into all keys and seeds; tests hold for any"
    )


def pytest_configure(config):
    """Salt the keys and seeds of this process, a worker of xdist's included."""
    from gudlearn import _random

    _random.SALT = config.getoption("--salt")


def pytest_report_header(config):
    """Say which salt the run has."""
    return f"salt of keyed noise and training seeds: {config.getoption('--salt')}"


@pytest.fixture(autouse=True)
def close_figures():
    """Close the figures that a test has opened through pyplot."""
    yield
    import sys

    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
