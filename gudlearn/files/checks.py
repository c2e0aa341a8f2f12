"""What must hold between the parts of a model that was read from a file.

Everything that has a size is compared with the arrays of the file before anything is built of it.
"""

import math

import numpy as np

from gudlearn.bases.base import Basis
from gudlearn.model.build import build_denoiser
from gudlearn.model.state import ModelState
from gudlearn.networks import MLP, Transformer, UNet
from gudlearn.storage.errors import ModelFileError


def check_parts(objects):
    """Check the objects of a file that have sizes.

    Parameters
    ----------
    objects : list

    Raises
    ------
    ModelFileError
        If a size is not that of the arrays.
    Exception
        Whatever building a network raises for parts that do not go together.
    """
    for value in objects:
        if isinstance(value, Basis):
            _check_basis(value)
    for value in objects:
        if isinstance(value, ModelState):
            _check_state(value)


def _check_basis(basis):
    """Raise if the sizes of a fitted basis are not those of its arrays."""
    learned = vars(basis)
    if "scale_" not in learned:
        return
    _check_equal("n_components_", learned["n_components_"], learned["scale_"].size)
    if "shape_" in learned:
        n_values = math.prod(learned["shape_"]) * learned["n_channels_"]
        _check_equal("shape_ of images", n_values, learned["mean_"].size)


def _check_state(state):
    """Raise if the network of a state cannot be built, or its weights are of other shapes."""
    for name, value in state.weights.items():
        numeric = type(value) is np.ndarray and value.dtype.kind in "biuf"
        if not isinstance(name, str) or not numeric:
            raise ModelFileError(f"the weight {name!r} is no array of numbers")
    encoding = state.encoding
    if encoding.shape is not None:
        _check_equal("shape of images", math.prod(encoding.shape), encoding.bins.width.size)
    if encoding.categories is not None:
        sizes = encoding.categories.sizes
        _check_equal("number of levels", int(sizes.sum()), encoding.categories.log_pmf.size)
    if state.weights:
        _check_network(state)
    build_denoiser(state)
    state.path()


def _check_network(state):
    """Raise if a network has more blocks, or larger ones, than its weights can fill.

    These are lower bounds of the weights of each kind of network: one that passes needs not much
    more memory than the file.
    """
    network, weights = state.network, state.weights
    blocks, needed = _SIZES[type(network)](network, state)
    n_weights = sum(value.size for value in weights.values())
    if blocks > len(weights) or max(needed) > n_weights:
        raise ModelFileError(
            f"a {type(network).__name__} of these parameters has more than {n_weights} weights"
        )


def _of_mlp(network, state):
    network.check_params()
    width, n_blocks, n_frequencies = (
        0 if value == "auto" else value
        for value in (network.width, network.n_blocks, network.n_frequencies)
    )
    n_components = len(state.preconditioner.smooth)
    needed = n_blocks * width**2, n_components * width, n_components * n_frequencies * width
    return n_blocks, needed


def _of_unet(network, state):
    width = 0 if network.width == "auto" else network.width
    multipliers = [int(m) for m in network.multipliers]
    blocks = network.n_blocks
    blocks = [int(n) for n in blocks] if np.ndim(blocks) else [blocks] * len(multipliers)
    pairs = zip(multipliers, multipliers[1:], strict=False)
    needed = (
        sum(n * (width * m) ** 2 for n, m in zip(blocks, multipliers, strict=True)),
        sum(a * b * width**2 for a, b in pairs), width * multipliers[0] * _patch(network) ** 2,
    )  # fmt: skip
    return sum(blocks) + len(multipliers) - 1, needed


def _of_transformer(network, state):
    width, patch = network.width, _patch(network)
    height, breadth, _ = state.encoding.shape
    # "auto" makes at most 64 tokens.
    tokens = 0 if patch == 0 else -(-height // patch) * -(-breadth // patch)
    return network.n_blocks, (network.n_blocks * width**2, width * patch**2, width * tokens)


_SIZES = {MLP: _of_mlp, UNet: _of_unet, Transformer: _of_transformer}


def _patch(network):
    return 0 if network.patch_size == "auto" else network.patch_size


def _check_equal(what, found, expected):
    if found != expected:
        raise ModelFileError(f"the {what} is {found}, but its arrays have {expected} values")
