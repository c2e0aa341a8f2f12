"""Build network, denoiser and model from a state, and cache models on their devices."""

import operator
import weakref
from contextlib import contextmanager

import numpy as np
import torch

from gudlearn._random import seeded_global_state
from gudlearn.model.component import ComponentModel
from gudlearn.model.device import autocast_type, resolve_device, sees_images
from gudlearn.model.fitted import FittedModel
from gudlearn.model.image_network import make_image_network
from gudlearn.model.state import UNIFORM_TIMES
from gudlearn.networks import ImageNetwork, build_network
from gudlearn.nn.denoiser import Denoiser
from gudlearn.preconditioning.categories import CategoryMarginals

# Models on their devices, by the preconditioner of their state. They are outside of the state, so
# that none of them is pickled, cloned or compared.
_MODELS = weakref.WeakKeyDictionary()


def fitted_model(state, *, device="auto", precision="auto", key=0, dtype=None, verbose=0):
    """The model of a state in the units of the data.

    Parameters
    ----------
    state : ModelState
    device, precision : str
        Parameters of the estimator.
    key : int
        Key of the noise inside scores.
    dtype : torch.dtype or None
        None is float64 for a table, float32 for images.
    verbose : int
        Above 0, long computations show how far they are.

    Returns
    -------
    FittedModel
    """
    components = _component_model(state, resolve_device(device), precision, dtype)
    return FittedModel(state.encoding, state.preconditioner, components, key, verbose)


def _component_model(state, device, precision, dtype):
    """The model on its device, rebuilt if weights, network, encoding or device have changed."""
    path = state.path()
    parts = (state.weights, state.network, state.encoding)
    models = _MODELS.setdefault(state.preconditioner, {})
    model, built_from = models.get(dtype, (None, ()))
    same = len(built_from) == len(parts) and all(map(operator.is_, built_from, parts))
    if not same or model.device != device:
        denoiser = build_denoiser(state)
        default = torch.float32 if sees_images(denoiser) else torch.float64
        arithmetic = default if dtype is None else dtype
        model = make_component_model(state, denoiser, path, UNIFORM_TIMES, device, arithmetic)
        models[dtype] = model, parts
    autocast = autocast_type(precision, device) if model.sees_images else None
    return model.on_path(path, state.time_weights.under(state.schedule), autocast)


def make_component_model(state, denoiser, path, times, device, dtype, autocast=None):
    """The `ComponentModel` of a denoiser, with end points and bins of a state."""
    encoding = state.encoding
    return ComponentModel(
        denoiser, path, encoding.ends, encoding.observation(), encoding.binned, times,
        device, dtype, autocast, null=state.n_classes,
    )  # fmt: skip


def new_network(encoding, preconditioner, spec, seed, n_classes):
    """An untrained network for the components that diffuse; None if there are none."""
    if not encoding.ends.active.any():
        return None
    with _seeded(seed):
        if isinstance(spec, ImageNetwork):
            return make_image_network(encoding, preconditioner.marginals(), spec, n_classes)
        marginals, kernels = preconditioner.marginals(), preconditioner.kernels()
        n_levels = 0 if encoding.categories is None else int(encoding.categories.sizes.sum())
        if marginals is None:
            return build_network(spec, 0, 1, n_classes, n_levels=n_levels)
        n_channels = Denoiser.n_channels(marginals, preconditioner.joint(), kernels)
        n_estimates = 0 if kernels is None else kernels.n_bandwidths
        n_components = len(marginals.mean)
        return build_network(spec, n_components, n_channels, n_classes, n_estimates, n_levels)


@contextmanager
def _seeded(seed):
    """Let layers draw their initial weights from a seed, in float32; restore torch's state."""
    dtype = torch.get_default_dtype()
    with seeded_global_state(seed):
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)


def build_denoiser(state):
    """The denoiser with the weights of a state; None if nothing diffuses."""
    preconditioner = state.preconditioner
    network = new_network(state.encoding, preconditioner, state.network, 0, state.n_classes)
    if network is None:
        return None
    network.load_state_dict({k: torch.from_numpy(np.array(v)) for k, v in state.weights.items()})
    return Denoiser(
        network, preconditioner.marginals(), preconditioner.joint(), preconditioner.kernels(),
        preconditioner.missing_above(), category_marginals(state.encoding, preconditioner),
    )  # fmt: skip


def category_marginals(encoding, preconditioner):
    """The `CategoryMarginals` of an encoding; None without categories."""
    categories, ends = encoding.categories, encoding.ends
    if categories is None:
        return None
    of_categories = ends.active & ends.category
    between = (ends.gamma_0[of_categories] + ends.gamma_1[of_categories]) / 2
    gates, numbers = (torch.from_numpy(index) for index in encoding.gates)
    return CategoryMarginals(
        categories.levels(), torch.from_numpy(categories.log_pmf), torch.from_numpy(between),
        gates - int(ends.numeric.sum()), numbers, preconditioner.missing_gamma()[numbers],
        preconditioner.latent_classes(),
    )  # fmt: skip
