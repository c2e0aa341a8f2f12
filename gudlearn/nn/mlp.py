"""The network for tables."""

import math

import torch
from torch import nn
from torch.nn import functional as F

from gudlearn.nn.embeddings import GammaEmbedding
from gudlearn.nn.layers import Dropout


def full_precision(device_type):
    """Return a context without autocast: first and last layers resolve differences of 1e-3."""
    return torch.autocast(device_type, enabled=False)


class ResidualMLP(nn.Module):
    """Residual multi-layer perceptron that sees the state and the noise level of every component.

    The last layer starts at zero, so the untrained network outputs zero.

    Parameters
    ----------
    n_components : int
        D, the number of outputs.
    n_channels : int
        C, the number of inputs per component.
    width, n_blocks : int
        Hidden units, and residual blocks of two layers.
    dropout : float in [0, 1)
    n_classes : int
        Class labels, the null label not counted; 0 for an unconditional network.
    n_estimates : int
        G, the estimates of x0 among the inputs. The network outputs a weight for each.
    n_levels : int
        L, the levels of all category columns together; 0 without categories.
    n_frequencies : int
        Sines of each component among the inputs.
    """

    EMBEDDING = 64
    # Standard deviation of the initial frequencies, in turns per unit of the squashed state.
    FREQUENCY = 0.5

    def __init__(
        self, n_components, n_channels, width, n_blocks, dropout=0.0, n_classes=0, n_estimates=0,
        n_levels=0, n_frequencies=0,
    ):  # fmt: skip
        super().__init__()

        def linear(n_in, n_out):
            return nn.Linear(n_in, n_out, dtype=torch.float32)

        self.width, self.n_blocks = width, n_blocks
        self.n_estimates = n_estimates
        self.n_components = n_components
        if n_components:
            self.embedding = GammaEmbedding(n_components, self.EMBEDDING)
            self.modulation = linear(self.EMBEDDING, width)
            self.first = linear(n_channels * n_components, width)
        self.waves = None
        if n_components and n_frequencies:
            shape = n_components, n_frequencies
            self.frequencies = nn.Parameter(
                self.FREQUENCY * torch.randn(shape, dtype=torch.float32)
            )
            self.phases = nn.Parameter(torch.rand(shape, dtype=torch.float32))
            self.waves = linear(n_components * n_frequencies, width)
        self.labels = None
        if n_classes:
            self.labels = nn.Embedding(n_classes + 1, width, dtype=torch.float32)
        self.inner = nn.ModuleList(linear(width, width) for _ in range(2 * n_blocks))
        self.dropout = Dropout(dropout)
        outputs = []
        if n_components:
            self.last = linear(width, (1 + n_estimates) * n_components)
            outputs.append(self.last)
        self.levels = None
        if n_levels:
            # A row for each level in, and one out; in has the scale of a sum over columns.
            self.levels = linear(n_levels, width)
            self.logits = linear(width, n_levels)
            nn.init.normal_(self.levels.weight, std=width**-0.5)
            outputs.append(self.logits)
        for output in outputs:
            nn.init.zeros_(output.weight)
            nn.init.zeros_(output.bias)

    def hidden_matrices(self):
        """Return the weights that an orthogonalised optimiser may take."""
        return [layer.weight for layer in self.inner]

    def forward(self, inputs, gamma, labels=None, one_hot=None):
        """Map inputs (B, C, D), noise levels (B, D) and labels (B,), if any, to (B, D).

        With G > 0 estimates among the inputs the output is (B, 1 + G, D). With categories the
        inputs include indicators of the observed levels, ``one_hot`` (B, L), and the output is a
        pair with the logits of all levels, (B, L).
        """
        with full_precision(inputs.device.type):
            hidden = self._first(inputs, gamma, one_hot)
            if labels is not None:
                hidden = hidden + self.labels(labels)
        for block in range(self.n_blocks):
            h = F.layer_norm(hidden, (self.width,))
            h = self.dropout(F.silu(self.inner[2 * block](h)))
            hidden = hidden + self.inner[2 * block + 1](h)
        with full_precision(inputs.device.type):
            hidden = F.layer_norm(hidden, (self.width,))
            if self.levels is None:
                return self._numbers(hidden)
            logits = self.logits(hidden.to(self.logits.weight.dtype))
            return (self._numbers(hidden) if self.n_components else None), logits

    def _first(self, inputs, gamma, one_hot):
        """Hidden units (B, width) of the inputs."""
        hidden = 0.0
        if self.n_components:
            hidden = self.first(inputs.flatten(1)) + self.modulation(self.embedding(gamma))
            if self.waves is not None:
                turns = inputs[:, 0, :, None] * self.frequencies + self.phases
                hidden = hidden + self.waves(torch.sin(2 * math.pi * turns).flatten(1))
        return hidden if self.levels is None else hidden + self.levels(one_hot)

    def _numbers(self, hidden):
        out = self.last(hidden.to(self.last.weight.dtype))
        return out.view(len(out), 1 + self.n_estimates, -1) if self.n_estimates else out
