"""What holds for every test and every doctest: one thread, and no window."""

import os

# Read once, when the numerical libraries and matplotlib are first imported.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"
os.environ["MPLBACKEND"] = "Agg"

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def close_figures():
    """Close the figures that a test has opened through pyplot."""
    yield
    import sys

    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
