"""From a state to what computes: the network, the denoiser, and the model on its device."""

import operator
import threading
import weakref
from contextlib import contextmanager

import numpy as np
import torch

from gudlearn.model.component import ComponentModel
from gudlearn.model.device import autocast_type, resolve_device, sees_images
from gudlearn.model.fitted import FittedModel
from gudlearn.model.image_network import make_image_network
from gudlearn.networks import ImageNetwork, build_network
from gudlearn.nn.denoiser import Denoiser

# Models on their devices by the preconditioner around which they are built: nothing of them is
# pickled, cloned or compared.
_MODELS = weakref.WeakKeyDictionary()
# Held while torch's global state is another.
_GLOBAL_STATE = threading.RLock()


def fitted_model(state, *, device="auto", precision="auto", key=0):
    """The model of a state in the units of the data.

    Parameters
    ----------
    state : ModelState
    device, precision : str
        Parameters of the estimator.
    key : int
        Of the noise inside scores.

    Returns
    -------
    FittedModel
    """
    components = _component_model(state, resolve_device(device), precision)
    return FittedModel(state.encoding, state.preconditioner, components, key)


def _component_model(state, device, precision):
    """The model on its device, rebuilt when what it was built from is no longer in place."""
    path = state.path()
    parts = (state.weights, state.network, state.encoding)
    model, known = _MODELS.get(state.preconditioner, (None, ()))
    same = len(known) == len(parts) and all(map(operator.is_, known, parts))
    if not same or model.device != device:
        denoiser = build_denoiser(state)
        dtype = torch.float32 if sees_images(denoiser) else torch.float64
        model = make_component_model(state, denoiser, path, np.ones(1), device, dtype)
        _MODELS[state.preconditioner] = model, parts
    autocast = autocast_type(precision, device) if model.sees_images else None
    return model.on_path(path, state.time_weights.under(state.schedule), autocast)


def make_component_model(state, denoiser, path, time_weights, device, dtype, autocast=None):
    """The model of a state around a denoiser."""
    encoding = state.encoding
    return ComponentModel(
        denoiser, path, encoding.ends, encoding.observation(), encoding.binned, time_weights,
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
        n_channels = Denoiser.n_channels(marginals, preconditioner.joint(), kernels)
        n_estimates = 0 if kernels is None else kernels.n_bandwidths
        return build_network(spec, len(marginals.mean), n_channels, n_classes, n_estimates)


@contextmanager
def _seeded(seed):
    """Let layers draw their first weights from a seed, in float32, and put global state back."""
    dtype = torch.get_default_dtype()
    with _GLOBAL_STATE, torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)
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
        preconditioner.missing_above(),
    )  # fmt: skip
