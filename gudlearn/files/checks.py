"""What must hold between the parts of a model that was read from a file."""

import numpy as np

from gudlearn.files.errors import ModelFileError
from gudlearn.model.build import build_denoiser
from gudlearn.model.state import ModelState


def check_state(state):
    """Raise if the network of a state cannot be built, or its weights are of other shapes.

    Parameters
    ----------
    state : ModelState

    Raises
    ------
    ModelFileError
        If the specification of the network asks for more than the weights can fill.
    Exception
        Whatever building raises for parts that do not go together.
    """
    weights = state.weights
    for name, value in weights.items():
        if not isinstance(name, str) or type(value) is not np.ndarray or value.dtype.kind not in (
            "biuf"
        ):
            raise ModelFileError(f"the weight {name!r} is no array of numbers")
    _check_size(state.network, weights)
    build_denoiser(state)
    state.path()


def check_states(objects):
    """Check each `ModelState` among objects."""
    for value in objects:
        if isinstance(value, ModelState):
            check_state(value)


def _check_size(network, weights):
    """Raise if a number of a network's specification is larger than any size of its weights.

    Widths are sizes of weights, and every block has weights of its own: a network that passes is
    not much larger than its weights, and is built in little time.
    """
    longest = max((max(value.shape, default=1) for value in weights.values()), default=0)
    blocks = 1
    for name, value in network.get_params(deep=False).items():
        numbers = value if isinstance(value, list | tuple) else [value]
        if name == "n_blocks":
            blocks *= value
        if name == "multipliers":
            blocks *= len(numbers)
        for number in numbers:
            if isinstance(number, int | np.integer) and number > max(longest, len(weights)):
                raise ModelFileError(f"{name}={number} of the network is more than its weights")
    if weights and blocks > len(weights):
        raise ModelFileError(f"a network of {blocks} blocks has {len(weights)} weights")
