"""What a network is shown of the noise levels."""

import math

import torch
from torch import nn


class GammaEmbedding(nn.Module):
    """A vector that tells the network the noise level of every component.

    Parameters
    ----------
    n_components : int
    width : int
        Length of the embedding.
    centre, half_width : float
        gamma is shifted and divided by these before sines and cosines are taken, so that one
        turn spans the levels the network will meet.
    n_frequencies : int
    """

    def __init__(self, n_components, width, centre=0.0, half_width=8.0, n_frequencies=4):
        super().__init__()
        frequencies = 0.5 * math.pi * 2.0 ** torch.arange(n_frequencies)
        self.register_buffer("frequencies", frequencies[:, None], persistent=False)
        self.centre, self.half_width = centre, half_width
        self.linear = nn.Linear((2 * n_frequencies + 1) * n_components, width)

    def forward(self, gamma):
        """Embed gamma (B, D) as (B, width)."""
        u = ((gamma - self.centre) / self.half_width).unsqueeze(1)
        waves = u * self.frequencies
        features = torch.cat([u, torch.sin(waves), torch.cos(waves)], 1).flatten(1)
        return nn.functional.silu(self.linear(features))
