"""Specifications of score networks: hyper-parameters that ``build`` turns into a module.

A custom network is any object with ``build(n_components, n_channels)``, or any callable of the
same two arguments, that returns an ``nn.Module`` called with inputs (B, C, D) and gamma (B, D)
and answering with (B, D). Where there are labels it is called with them too, (B,), n_classes
standing for none.
"""

from abc import ABC, abstractmethod
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.base import BaseEstimator
from torch import nn

from gudlearn._constraints import Interval, StrOptions
from gudlearn.nn.layers import n_heads
from gudlearn.nn.mlp import ResidualMLP
from gudlearn.nn.transformer import TransformerModule
from gudlearn.nn.unet import UNetModule


class MLP(BaseEstimator):
    """Residual multi-layer perceptron for rows of a table.

    Parameters
    ----------
    width : int, default=128
        Hidden units.
    n_blocks : int, default=3
        Residual blocks, of two layers each.
    dropout : float in [0, 1) or "auto", default="auto"
        Share of hidden units silenced while training. "auto", in an estimator, is 300 divided by
        the number of rows, 0.2 at most, and none below 0.03; without rows it is none.

    Examples
    --------
    >>> from gudlearn import MLP
    >>> network = MLP(width=64).build(n_components=5, n_channels=1)
    >>> sum(p.numel() for p in network.parameters())
    32773
    """

    _parameter_constraints = {
        "width": [Interval(Integral, 1, None, closed="left")],
        "n_blocks": [Interval(Integral, 1, None, closed="left")],
        "dropout": [StrOptions({"auto"}), Interval(Real, 0, 1, closed="left")],
    }

    def __init__(self, width=128, n_blocks=3, dropout="auto"):
        self.width = width
        self.n_blocks = n_blocks
        self.dropout = dropout

    def build(self, n_components, n_channels, n_classes=0, n_estimates=0):
        """Make the module.

        Parameters
        ----------
        n_components : int
            D, components of the basis that diffuse.
        n_channels : int
            C, inputs per component.
        n_classes : int, default=0
            Classes of labels, the one that stands for none left out; 0 where there are no labels.
        n_estimates : int, default=0
            Estimates of x0 from rows that are looked up, among the inputs. The module then returns
            (B, 1 + G, D): its answer, and a weight for each estimate.

        Returns
        -------
        nn.Module
        """
        self._validate_params()
        dropout = 0.0 if self.dropout == "auto" else self.dropout
        return ResidualMLP(
            n_components, n_channels, self.width, self.n_blocks, dropout, n_classes, n_estimates
        )

    def _sized(self, n_rows):
        """This specification with "auto" resolved for a number of rows."""
        return self.set_params(dropout=_auto_dropout(self.dropout, n_rows))


def _auto_dropout(dropout, n_rows):
    if dropout != "auto":
        return dropout
    dropout = min(0.2, 300 / n_rows)
    # Below this it costs more than it saves.
    return dropout if dropout > 0.03 else 0.0


class ImageNetwork(BaseEstimator, ABC):
    """A specification of a network of images; see the module.

    The module is called with maps (B, C, height, width) and a condition (B, E) made of the noise
    levels and labels, and answers with maps.
    """

    mirror = False

    @abstractmethod
    def build(self, n_inputs, n_outputs, n_condition, shape):
        """Make the module.

        Parameters
        ----------
        n_inputs, n_outputs : int
            Maps that come in and go out.
        n_condition : int
            Length of the condition.
        shape : (height, width)

        Returns
        -------
        nn.Module
        """

    @property
    @abstractmethod
    def n_condition(self):
        """Length of the condition that it wants."""

    def _sized(self, n_rows):
        """This specification with "auto" resolved for a number of images."""
        return self


class UNet(ImageNetwork):
    """Convolutional network with residual blocks at falling and rising resolution.

    Parameters
    ----------
    width : int or "auto", default="auto"
        Channels at the finest resolution. "auto", in an estimator, is 32 below 5,000 images, 96
        from 100,000 on, else 48.
    multipliers : tuple of int, default=(1, 2)
        Channels at each resolution, as multiples of ``width``. Each is half as fine as the one
        before. Heights and widths are padded to whole multiples.
    n_blocks : int or tuple of int, default=1
        Residual blocks of two convolutions at each resolution, on the way down and again on the
        way up. At the finest they help most, and cost most.
    attention : None or tuple of bool, default=None
        At which resolutions pixels attend to each other; None: nowhere. Where there are more
        than some hundred pixels it costs more than all else.
    patch_size : int or "auto", default="auto"
        Side of the squares of pixels that the finest resolution sees as one, with all of their
        values as channels. "auto" is the least power of 2 that leaves at most 64 x 64 squares.
    dropout : float in [0, 1) or "auto", default="auto"
        Share of hidden values silenced while training. "auto", in an estimator, is 300 divided by
        the number of images, 0.2 at most, and none below 0.03.
    gradient_checkpointing : bool, default=False
        Whether hidden maps are computed again on the way back instead of kept: a third more
        arithmetic, and memory for one block at a time.
    mirror : bool, default=False
        Whether the network knows that images mirrored left to right are as likely. In training
        half of them are; afterwards the answer is the mean of those to an image and to its mirror
        image, which is better than either and takes scores and samples twice as long.

    Notes
    -----
    Noise levels enter each block by a scale and a shift of its channels; where components are
    local also as maps.

    References
    ----------
    Ronneberger, Fischer, Brox (2015), https://arxiv.org/abs/1505.04597;
    Ho, Jain, Abbeel (2020), https://arxiv.org/abs/2006.11239

    Examples
    --------
    >>> from gudlearn import UNet
    >>> network = UNet(width=32).build(n_inputs=2, n_outputs=1, n_condition=16, shape=(8, 8))
    >>> sum(p.numel() for p in network.parameters())
    208705
    """

    _parameter_constraints = {
        "width": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "multipliers": ["array-like"],
        "n_blocks": [Interval(Integral, 1, None, closed="left"), "array-like"],
        "attention": [None, "array-like"],
        "patch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "dropout": [StrOptions({"auto"}), Interval(Real, 0, 1, closed="left")],
        "gradient_checkpointing": ["boolean"],
        "mirror": ["boolean"],
    }

    def __init__(
        self,
        width="auto",
        multipliers=(1, 2),
        n_blocks=1,
        attention=None,
        patch_size="auto",
        dropout="auto",
        gradient_checkpointing=False,
        mirror=False,
    ):
        self.width = width
        self.multipliers = multipliers
        self.n_blocks = n_blocks
        self.attention = attention
        self.patch_size = patch_size
        self.dropout = dropout
        self.gradient_checkpointing = gradient_checkpointing
        self.mirror = mirror

    @property
    def n_condition(self):
        """Length of the condition that it wants."""
        return 96 if self.width == "auto" else max(64, 2 * self.width)

    def build(self, n_inputs, n_outputs, n_condition, shape):
        """Make the module; see `ImageNetwork.build`."""
        self._validate_params()
        width = 48 if self.width == "auto" else self.width
        widths = [width * m for m in _whole("multipliers", self.multipliers, least=1)]
        n_blocks = self.n_blocks
        if isinstance(n_blocks, Integral):
            n_blocks = [n_blocks] * len(widths)
        n_blocks = _whole("n_blocks", n_blocks, least=0, length=len(widths))
        patch = _auto_patch(self.patch_size, shape, 64 * 64)
        attention = [False] * len(widths) if self.attention is None else list(self.attention)
        flags = all(isinstance(a, bool | np.bool_) for a in attention)
        if len(attention) != len(widths) or not flags:
            raise ValueError(
                f"attention={self.attention!r} must have True or False for each of the "
                f"{len(widths)} resolutions of multipliers, or be None."
            )
        return UNetModule(
            n_inputs, n_outputs, n_condition, widths, n_blocks, [bool(a) for a in attention],
            patch, 0.0 if self.dropout == "auto" else self.dropout, self.gradient_checkpointing,
        )  # fmt: skip

    def _sized(self, n_rows):
        width = self.width
        if width == "auto":
            width = 32 if n_rows < 5000 else 48 if n_rows < 100_000 else 96
        dropout = _auto_dropout(self.dropout, n_rows)
        return self.set_params(width=width, dropout=dropout)


class Transformer(ImageNetwork):
    """Transformer on patches of images, with adaptive layer norm.

    Parameters
    ----------
    width : int, default=128
        Length of a token.
    n_blocks : int, default=6
        Blocks of attention and two layers.
    n_heads : int or "auto", default="auto"
        Heads of attention; "auto" is one for each 32 entries of a token, or as many fewer as divide
        the width.
    patch_size : int or "auto", default="auto"
        Side of the square of pixels that is one token. "auto" is the least power of 2 that makes
        at most 64 tokens.
    dropout : float in [0, 1) or "auto", default="auto"
        As in `UNet`.
    gradient_checkpointing, mirror : bool, default=False
        As in `UNet`.

    References
    ----------
    Peebles, Xie (2023), https://arxiv.org/abs/2212.09748

    Examples
    --------
    >>> from gudlearn import Transformer
    >>> network = Transformer(width=32, n_blocks=2).build(2, 1, n_condition=16, shape=(8, 8))
    >>> sum(p.numel() for p in network.parameters())
    34945
    """

    _parameter_constraints = {
        "width": [Interval(Integral, 1, None, closed="left")],
        "n_blocks": [Interval(Integral, 1, None, closed="left")],
        "n_heads": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "patch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "dropout": [StrOptions({"auto"}), Interval(Real, 0, 1, closed="left")],
        "gradient_checkpointing": ["boolean"],
        "mirror": ["boolean"],
    }

    def __init__(
        self,
        width=128,
        n_blocks=6,
        n_heads="auto",
        patch_size="auto",
        dropout="auto",
        gradient_checkpointing=False,
        mirror=False,
    ):
        self.width = width
        self.n_blocks = n_blocks
        self.n_heads = n_heads
        self.patch_size = patch_size
        self.dropout = dropout
        self.gradient_checkpointing = gradient_checkpointing
        self.mirror = mirror

    @property
    def n_condition(self):
        """Length of the condition that it wants."""
        return max(64, self.width)

    def build(self, n_inputs, n_outputs, n_condition, shape):
        """Make the module; see `ImageNetwork.build`."""
        self._validate_params()
        heads = n_heads(self.width) if self.n_heads == "auto" else self.n_heads
        if self.width % heads:
            raise ValueError(f"n_heads={heads} must divide width={self.width}. Change one of them.")
        patch = _auto_patch(self.patch_size, shape, 64)
        return TransformerModule(
            n_inputs, n_outputs, n_condition, shape, self.width, self.n_blocks, heads, patch,
            0.0 if self.dropout == "auto" else self.dropout, self.gradient_checkpointing,
        )  # fmt: skip

    def _sized(self, n_rows):
        return self.set_params(dropout=_auto_dropout(self.dropout, n_rows))


def _whole(name, values, least, length=None):
    """A sequence of whole numbers of at least `least`, as a list."""
    values = list(values)
    fits = values and all(isinstance(v, Integral) and v >= least for v in values)
    if not fits or (length is not None and len(values) != length):
        count = "" if length is None else f", one for each of the {length} of multipliers"
        raise ValueError(
            f"{name}={tuple(values)!r} must hold whole numbers of at least {least}{count}."
        )
    return [int(v) for v in values]


def _auto_patch(patch_size, shape, most):
    """The least power of 2 that makes at most so many squares of a picture."""
    if patch_size != "auto":
        return patch_size
    patch = 1
    while -(-shape[0] // patch) * -(-shape[1] // patch) > most:
        patch *= 2
    return patch


class _ZeroStart(nn.Module):
    """A module times a learned gain per component that starts at zero."""

    def __init__(self, module, n_components):
        super().__init__()
        self.module = module
        self.gain = nn.Parameter(torch.zeros(n_components))

    def forward(self, inputs, gamma, *labels):
        return self.gain * self.module(inputs, gamma, *labels)


def build_network(spec, n_components, n_channels, n_classes=0, n_estimates=0):
    """Build a network of components of ours, or anyone's module so that it too starts at zero."""
    if isinstance(spec, MLP):
        guesses = {"n_estimates": n_estimates} if n_estimates else {}
        return spec.build(n_components, n_channels, n_classes, **guesses)
    build = getattr(spec, "build", spec)
    module = build(n_components, n_channels)
    if not isinstance(module, nn.Module):
        raise TypeError(
            f"network={spec!r} must build a torch.nn.Module, but built a "
            f"{type(module).__name__}. Return a module called as module(inputs, gamma)."
        )
    return _ZeroStart(module, n_components)
