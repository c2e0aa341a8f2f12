"""Random numbers inside networks, drawn from a private generator.

torch's global generator is shared by all threads of a process, so a fit that seeds it disturbs
every other fit. Layers that draw random numbers inherit from `RandomLayer`; `use_generator` gives
them a generator of their own.
"""

from torch import nn
from torch.utils.checkpoint import checkpoint

_DROPOUT = (
    nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout,
)  # fmt: skip
_WITH_DROPOUT = (nn.RNNBase, nn.MultiheadAttention)
_ALWAYS_RANDOM = (nn.RReLU, nn.FractionalMaxPool2d, nn.FractionalMaxPool3d)


class RandomLayer(nn.Module):
    """Abstract base of layers that draw random numbers in training.

    Attributes
    ----------
    generator : torch.Generator or None
        Source of the random numbers; None is torch's global generator. The state dict does not
        contain it.
    draws_noise : bool
        False where the layer's parameters rule out that it draws anything.
    """

    draws_noise = True

    def __init__(self):
        super().__init__()
        self.generator = None

    def noise_device(self, x):
        """Device on which random numbers for the tensor x are drawn."""
        return x.device if self.generator is None else self.generator.device


def use_generator(module, generator):
    """Let every `RandomLayer` inside a module draw from a generator.

    Parameters
    ----------
    module : nn.Module
    generator : torch.Generator or None
        None is torch's global generator.
    """
    for layer in module.modules():
        if isinstance(layer, RandomLayer):
            layer.generator = generator


def draws_from_global_state(module):
    """Whether a module may draw from torch's global generator after `use_generator`.

    True where a layer of torch draws random numbers in training, and where any layer comes from
    neither gudlearn nor ``torch.nn``: its code is unknown.
    """
    return any(_may_draw_globally(layer) for layer in module.modules())


def _may_draw_globally(layer):
    package = type(layer).__module__
    if package.startswith("gudlearn."):
        return False
    if not package.startswith("torch.nn."):
        return True
    if isinstance(layer, _DROPOUT):
        return layer.p > 0
    if isinstance(layer, _WITH_DROPOUT):
        return layer.dropout > 0
    return isinstance(layer, _ALWAYS_RANDOM)


def checkpointed(block, *inputs):
    """Apply a block whose activations are recomputed in the backward pass, with the same noise.

    Parameters
    ----------
    block : nn.Module
        Draws random numbers in layers of type `RandomLayer` only.
    *inputs : Tensor
    """
    generators = {
        layer.generator
        for layer in block.modules()
        if isinstance(layer, RandomLayer) and layer.draws_noise and layer.training
    }
    is_global = None in generators
    private = [generator for generator in generators if generator is not None]
    function = _Repeatable(block, private) if private else block
    return checkpoint(function, *inputs, use_reentrant=False, preserve_rng_state=is_global)


class _Repeatable:
    """A function that draws the same random numbers in every call as in its first.

    Later calls leave the generators as they find them.
    """

    def __init__(self, function, generators):
        self._function, self._generators = function, generators
        self._first_states = None

    def __call__(self, *inputs):
        states = [generator.get_state() for generator in self._generators]
        if self._first_states is None:
            self._first_states = states
            return self._function(*inputs)
        self._restore(self._first_states)
        try:
            return self._function(*inputs)
        finally:
            self._restore(states)

    def _restore(self, states):
        for generator, state in zip(self._generators, states, strict=True):
            generator.set_state(state)
