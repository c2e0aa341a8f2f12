"""Specifications of networks: hyper-parameters that ``build`` turns into a module.

A custom network is any object with ``build(n_components, n_channels)``, or any callable of these
two arguments. It must return an ``nn.Module`` that maps inputs (B, C, D) and gamma (B, D) to
outputs (B, D). If there are class labels, the module gets labels (B,) as a third argument; the
label ``n_classes`` means no label.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.base import BaseEstimator, clone
from torch import nn

from gudlearn._constraints import Interval, StrOptions
from gudlearn._typing import Auto
from gudlearn._versions import Versioned
from gudlearn.nn.layers import n_heads
from gudlearn.nn.mlp import ResidualMLP
from gudlearn.nn.transformer import TransformerModule
from gudlearn.nn.unet import UNetModule

# Sizes of a network, and those of one that predicts columns from others.
_WIDTH, _N_BLOCKS = 128, 3
_FOR_TARGETS = {"width": 256, "n_blocks": 2, "n_frequencies": 12}


class MLP(Versioned, BaseEstimator):
    """Residual multi-layer perceptron for rows of a table.

    Parameters
    ----------
    width : int or "auto", default="auto"
        Hidden units. In an estimator with ``targets``, "auto" is 256. Otherwise it is 128.
    n_blocks : int or "auto", default="auto"
        Residual blocks, of two layers each. In an estimator with ``targets``, "auto" is 2.
        Otherwise it is 3.
    dropout : float in [0, 1) or "auto", default="auto"
        Dropout probability of hidden units. In an estimator, "auto" is 300 divided by the number
        of rows, at most 0.2, and 0 if that is below 0.03. Otherwise it is 0.
    n_frequencies : int or "auto", default="auto"
        Number of sines of each component among the inputs, of learned frequencies. They let the
        network follow functions that are not smooth. In an estimator with ``targets``, "auto" is
        12. Otherwise it is 0.

    References
    ----------
    Gorishniy, Rubachev, Babenko (2022), "On embeddings for numerical features in tabular deep
    learning", https://arxiv.org/abs/2203.05556

    Examples
    --------
    >>> from gudlearn import MLP
    >>> network = MLP(width=64).build(n_components=5, n_channels=1)
    >>> sum(p.numel() for p in network.parameters())
    32773
    """

    _parameter_constraints = {
        "width": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "n_blocks": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "dropout": [StrOptions({"auto"}), Interval(Real, 0, 1, closed="left")],
        "n_frequencies": [StrOptions({"auto"}), Interval(Integral, 0, None, closed="left")],
    }

    def __init__(
        self, width: int | Auto = "auto", n_blocks: int | Auto = "auto",
        dropout: float | Auto = "auto", n_frequencies: int | Auto = "auto",
    ) -> None:  # fmt: skip
        self.width = width
        self.n_blocks = n_blocks
        self.dropout = dropout
        self.n_frequencies = n_frequencies

    def build(self, n_components, n_channels, n_classes=0, n_estimates=0, n_levels=0):
        """Make the module.

        Parameters
        ----------
        n_components : int
            D, the number of components that diffuse.
        n_channels : int
            C, the number of inputs per component.
        n_classes : int, default=0
            Number of class labels, without the null label. 0 for an unconditional network.
        n_estimates : int, default=0
            G, the number of estimates of x0 from the reference set among the inputs. If positive,
            the module returns (B, 1 + G, D): its output, and a weight for each estimate.
        n_levels : int, default=0
            L, the number of levels of all category columns together. If positive, the module takes
            indicators of observed levels, ``one_hot`` (B, L), and returns a pair: its output, or
            None if there are no components, and logits (B, L).

        Returns
        -------
        nn.Module
        """
        self.check_params()
        auto = {"width": _WIDTH, "n_blocks": _N_BLOCKS, "dropout": 0.0, "n_frequencies": 0}
        width, n_blocks, dropout, n_frequencies = (
            default if getattr(self, name) == "auto" else getattr(self, name)
            for name, default in auto.items()
        )
        return ResidualMLP(
            n_components, n_channels, width, n_blocks, dropout, n_classes, n_estimates, n_levels,
            n_frequencies,
        )  # fmt: skip

    def check_params(self, shape=None):
        """Validate the parameters.

        Parameters
        ----------
        shape : tuple of int or None, default=None
            Ignored; see `ImageNetwork.check_params`.

        Raises
        ------
        ValueError
            If a parameter is of the wrong type or out of range.
        """
        self._validate_params()

    def for_targets(self):
        """Resolve "auto" parameters for an estimator with ``targets``.

        Returns
        -------
        MLP
            A copy.
        """
        auto = {k: v for k, v in _FOR_TARGETS.items() if getattr(self, k) == "auto"}
        return clone(self).set_params(**auto)

    def sized(self, n_rows):
        """Resolve "auto" parameters for a number of rows.

        Parameters
        ----------
        n_rows : int
            Number of rows to fit.

        Returns
        -------
        MLP
            A copy.
        """
        return clone(self).set_params(dropout=_auto_dropout(self.dropout, n_rows))


def _auto_dropout(dropout, n_rows):
    if dropout != "auto":
        return dropout
    dropout = min(0.2, 300 / n_rows)
    # Weaker dropout costs more than it gains.
    return dropout if dropout > 0.03 else 0.0


class ImageNetwork(Versioned, BaseEstimator, ABC):
    """Abstract base class of networks for images.

    The module that `build` returns maps feature maps (B, C, height, width) and an embedding (B, E)
    of noise levels and labels to feature maps.
    """

    mirror = False

    @abstractmethod
    def build(self, n_inputs, n_outputs, n_condition, shape):
        """Make the module.

        Parameters
        ----------
        n_inputs, n_outputs : int
            Numbers of feature maps.
        n_condition : int
            E, the length of the embedding of noise levels and labels.
        shape : (height, width)
            Shape of the images in pixels.

        Returns
        -------
        nn.Module
        """

    @property
    @abstractmethod
    def n_condition(self):
        """Length of the embedding of noise levels and labels."""

    def check_params(self, shape=None):
        """Validate the parameters; the base class accepts all.

        Parameters
        ----------
        shape : tuple of int or None, default=None
            Height and width of the images, and perhaps channels. If given, the network must also
            fit images of this shape.

        Raises
        ------
        ValueError
            If a parameter is of the wrong type or out of range, or does not fit the images.
        """

    def sized(self, n_rows):
        """Resolve "auto" parameters for a number of images.

        Parameters
        ----------
        n_rows : int
            Number of images to fit.

        Returns
        -------
        ImageNetwork
            A copy, or this specification if there is nothing to resolve.
        """
        return self


class UNet(ImageNetwork):
    """U-Net: residual convolutional blocks at decreasing and increasing resolution.

    Parameters
    ----------
    width : int or "auto", default="auto"
        Channels at the finest resolution. In an estimator, "auto" is 32 below 5,000 images, 96
        from 100,000 images, and 48 otherwise.
    multipliers : tuple of int, default=(1, 2)
        Channels at each resolution, as multiples of ``width``. Each resolution is half of the
        previous one. Heights and widths are padded to multiples.
    n_blocks : int or tuple of int, default=1
        Residual blocks of two convolutions at each resolution, in the encoder and again in the
        decoder. Blocks at the finest resolution help most and cost most.
    attention : None or tuple of bool, default=None
        Resolutions with self-attention between pixels; None is none. With more than a few hundred
        pixels, attention costs more than all else.
    patch_size : int or "auto", default="auto"
        Side of the square patches of pixels that are one position at the finest resolution; the
        values of a patch are its channels. "auto" is the smallest power of 2 that gives at most
        64 x 64 patches.
    dropout : float in [0, 1) or "auto", default="auto"
        Dropout probability of hidden values. In an estimator, "auto" is 300 divided by the number
        of images, at most 0.2, and 0 if that is below 0.03. Otherwise it is 0.
    gradient_checkpointing : bool, default=False
        Whether to recompute hidden maps in the backward pass instead of storing them. This takes a
        third more arithmetic, and memory for one block at a time.
    mirror : bool, default=False
        Whether mirror images (left to right) are equally likely. If so, half of the images are
        mirrored in training, and afterwards the output is the mean of those for an image and its
        mirror image. This is more accurate, and doubles the time of scores and samples.

    Notes
    -----
    Noise levels enter each block as a scale and a shift of its channels and, if components are
    local, also as feature maps.

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
        self, width: int | Auto = "auto", multipliers: Sequence[int] = (1, 2),
        n_blocks: int | Sequence[int] = 1, attention: Sequence[bool] | None = None,
        patch_size: int | Auto = "auto", dropout: float | Auto = "auto",
        gradient_checkpointing: bool = False, mirror: bool = False,
    ) -> None:  # fmt: skip
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
        """Length of the embedding of noise levels and labels."""
        return 96 if self.width == "auto" else max(64, 2 * self.width)

    def build(self, n_inputs, n_outputs, n_condition, shape):
        """Make the module; see `ImageNetwork.build`."""
        self._validate_params()
        width = 48 if self.width == "auto" else self.width
        widths = [width * m for m in _integers("multipliers", self.multipliers, minimum=1)]
        n_blocks = self.n_blocks
        if isinstance(n_blocks, Integral):
            n_blocks = [n_blocks] * len(widths)
        n_blocks = _integers("n_blocks", n_blocks, minimum=0, length=len(widths))
        patch = _resolve_patch_size(self.patch_size, shape, 64 * 64)
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

    def check_params(self, shape=None):
        """Validate the parameters; see `ImageNetwork.check_params`."""
        self._validate_params()
        _check_fits(self, shape)

    def sized(self, n_rows):
        """Resolve "auto" parameters for a number of images; see `ImageNetwork.sized`."""
        width = self.width
        if width == "auto":
            width = 32 if n_rows < 5000 else 48 if n_rows < 100_000 else 96
        dropout = _auto_dropout(self.dropout, n_rows)
        return clone(self).set_params(width=width, dropout=dropout)


class Transformer(ImageNetwork):
    """Transformer on patches of images, with adaptive layer norm.

    Parameters
    ----------
    width : int, default=128
        Length of a token.
    n_blocks : int, default=6
        Blocks of self-attention and two dense layers.
    n_heads : int or "auto", default="auto"
        Attention heads. "auto" is one for each 32 entries of a token, or the next smaller number
        that divides the width.
    patch_size : int or "auto", default="auto"
        Side of the square patches of pixels that are the tokens. "auto" is the smallest power of 2
        that gives at most 64 tokens.
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
        self, width: int = 128, n_blocks: int = 6, n_heads: int | Auto = "auto",
        patch_size: int | Auto = "auto", dropout: float | Auto = "auto",
        gradient_checkpointing: bool = False, mirror: bool = False,
    ) -> None:  # fmt: skip
        self.width = width
        self.n_blocks = n_blocks
        self.n_heads = n_heads
        self.patch_size = patch_size
        self.dropout = dropout
        self.gradient_checkpointing = gradient_checkpointing
        self.mirror = mirror

    @property
    def n_condition(self):
        """Length of the embedding of noise levels and labels."""
        return max(64, self.width)

    def build(self, n_inputs, n_outputs, n_condition, shape):
        """Make the module; see `ImageNetwork.build`."""
        self._validate_params()
        heads = n_heads(self.width) if self.n_heads == "auto" else self.n_heads
        if self.width % heads:
            raise ValueError(f"n_heads={heads} must divide width={self.width}. Change one of them.")
        patch = _resolve_patch_size(self.patch_size, shape, 64)
        return TransformerModule(
            n_inputs, n_outputs, n_condition, shape, self.width, self.n_blocks, heads, patch,
            0.0 if self.dropout == "auto" else self.dropout, self.gradient_checkpointing,
        )  # fmt: skip

    def check_params(self, shape=None):
        """Validate the parameters; see `ImageNetwork.check_params`."""
        self._validate_params()
        _check_fits(self, shape)

    def sized(self, n_rows):
        """Resolve "auto" parameters for a number of images; see `ImageNetwork.sized`."""
        return clone(self).set_params(dropout=_auto_dropout(self.dropout, n_rows))


def _check_fits(spec, shape):
    """Raise if a network cannot be built for images of a shape."""
    if shape is not None:
        # The meta device allocates no memory.
        with torch.device("meta"):
            spec.build(1, 1, spec.n_condition, tuple(shape[:2]))


def _integers(name, values, minimum, length=None):
    """Validate a sequence of integers, and return it as a list."""
    values = list(values)
    fits = values and all(isinstance(v, Integral) and v >= minimum for v in values)
    if not fits or (length is not None and len(values) != length):
        count = "" if length is None else f", one for each of the {length} of multipliers"
        raise ValueError(
            f"{name}={tuple(values)!r} must hold whole numbers of at least {minimum}{count}."
        )
    return [int(v) for v in values]


def _resolve_patch_size(patch_size, shape, max_patches):
    """Resolve "auto" to the smallest power of 2 that gives at most max_patches patches."""
    if patch_size != "auto":
        return patch_size
    patch = 1
    while -(-shape[0] // patch) * -(-shape[1] // patch) > max_patches:
        patch *= 2
    return patch


class _ZeroStart(nn.Module):
    """A module times a learned gain per component, which is initially zero."""

    def __init__(self, module, n_components):
        super().__init__()
        self.module = module
        self.gain = nn.Parameter(torch.zeros(n_components, dtype=torch.float32))

    def forward(self, inputs, gamma, *labels):
        return self.gain * self.module(inputs, gamma, *labels)


def build_network(spec, n_components, n_channels, n_classes=0, n_estimates=0, n_levels=0):
    """Build a network on components whose output is initially zero.

    Parameters
    ----------
    spec : MLP, or a custom specification or callable
        See the module. The output of a custom module is multiplied by a gain that starts at zero.
    n_components, n_channels, n_classes, n_estimates, n_levels : int
        As in `MLP.build`; the last three are for `MLP` only.

    Returns
    -------
    nn.Module

    Raises
    ------
    TypeError
        If a custom specification does not build a module.
    ValueError
        If there are categories, and the specification is not an `MLP`.
    """
    if isinstance(spec, MLP):
        more = {"n_estimates": n_estimates, "n_levels": n_levels}
        more = {name: number for name, number in more.items() if number}
        return spec.build(n_components, n_channels, n_classes, **more)
    if n_levels:
        raise ValueError(
            f"network={spec!r} sees numbers, but X has columns of categories. Pass an MLP, or "
            "numbers in place of the categories."
        )
    build = getattr(spec, "build", spec)
    module = build(n_components, n_channels)
    if not isinstance(module, nn.Module):
        raise TypeError(
            f"network={spec!r} must build a torch.nn.Module, but built a "
            f"{type(module).__name__}. Return a module called as module(inputs, gamma)."
        )
    return _ZeroStart(module, n_components)
