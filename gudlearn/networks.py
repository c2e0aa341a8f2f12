"""Specifications of score networks: hyper-parameters that ``build`` turns into a module.

A custom network is any object with ``build(n_components, n_channels)``, or any callable of the
same two arguments, that returns an ``nn.Module`` called with inputs (B, C, D) and gamma (B, D)
and answering with (B, D).
"""

from numbers import Integral, Real

import torch
from sklearn.base import BaseEstimator
from torch import nn

from gudlearn._constraints import Interval, StrOptions
from gudlearn.nn.mlp import ResidualMLP


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

    def build(self, n_components, n_channels):
        """Make the module.

        Parameters
        ----------
        n_components : int
            D, components of the basis that diffuse.
        n_channels : int
            C, inputs per component.

        Returns
        -------
        nn.Module
        """
        self._validate_params()
        dropout = 0.0 if self.dropout == "auto" else self.dropout
        return ResidualMLP(n_components, n_channels, self.width, self.n_blocks, dropout)


class _ZeroStart(nn.Module):
    """A module times a learned gain per component that starts at zero."""

    def __init__(self, module, n_components):
        super().__init__()
        self.module = module
        self.gain = nn.Parameter(torch.zeros(n_components))

    def forward(self, inputs, gamma):
        return self.gain * self.module(inputs, gamma)


def build_network(spec, n_components, n_channels):
    """Build a network of ours, or anyone's module so that it too starts at zero."""
    if isinstance(spec, MLP):
        return spec.build(n_components, n_channels)
    build = getattr(spec, "build", spec)
    module = build(n_components, n_channels)
    if not isinstance(module, nn.Module):
        raise TypeError(
            f"network={spec!r} must build a torch.nn.Module, but built a "
            f"{type(module).__name__}. Return a module called as module(inputs, gamma)."
        )
    return _ZeroStart(module, n_components)
