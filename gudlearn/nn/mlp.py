"""The network for tables."""

import torch
from torch import nn
from torch.nn import functional as F

from gudlearn.nn.embeddings import GammaEmbedding


def full_precision(device_type):
    """A context in which autocast is off: first and last layers see differences of 1e-3."""
    return torch.autocast(device_type, enabled=False)


class ResidualMLP(nn.Module):
    """Residual blocks of two layers over a sum of what is seen and how noisy it is.

    The last layer starts at zero, so that the untrained network predicts nothing.

    Parameters
    ----------
    n_components : int
        D, the number of outputs.
    n_channels : int
        C, the number of inputs per component.
    width, n_blocks : int
        Hidden units, and blocks of two layers.
    dropout : float in [0, 1)
    n_classes : int
        Labels beside the one that stands for none; 0 where there are none.
    n_estimates : int
        Of x0 among the inputs; how far to go towards each is answered, too.
    """

    EMBEDDING = 64

    def __init__(
        self, n_components, n_channels, width, n_blocks, dropout=0.0, n_classes=0, n_estimates=0
    ):
        super().__init__()
        self.width, self.n_blocks, self.dropout = width, n_blocks, dropout
        self.n_estimates = n_estimates
        self.embedding = GammaEmbedding(n_components, self.EMBEDDING)
        self.modulation = nn.Linear(self.EMBEDDING, width)
        self.first = nn.Linear(n_channels * n_components, width)
        self.labels = nn.Embedding(n_classes + 1, width) if n_classes else None
        self.inner = nn.ModuleList(nn.Linear(width, width) for _ in range(2 * n_blocks))
        self.last = nn.Linear(width, (1 + n_estimates) * n_components)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def hidden_matrices(self):
        """Weights that an orthogonalised optimiser may take."""
        return [layer.weight for layer in self.inner]

    def forward(self, inputs, gamma, labels=None):
        """Inputs (B, C, D), noise levels (B, D) and labels (B,), if any, to outputs (B, D).

        With G guesses it is (B, 1 + G, D).
        """
        with full_precision(inputs.device.type):
            hidden = self.first(inputs.flatten(1)) + self.modulation(self.embedding(gamma))
            if labels is not None:
                hidden = hidden + self.labels(labels)
        for block in range(self.n_blocks):
            h = F.layer_norm(hidden, (self.width,))
            h = F.silu(self.inner[2 * block](h))
            if self.dropout:
                h = F.dropout(h, self.dropout, self.training)
            hidden = hidden + self.inner[2 * block + 1](h)
        with full_precision(inputs.device.type):
            out = self.last(F.layer_norm(hidden, (self.width,)).to(self.last.weight.dtype))
        return out.view(len(out), 1 + self.n_estimates, -1) if self.n_estimates else out
