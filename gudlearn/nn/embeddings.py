"""Embeddings of noise levels."""

import math

import torch
from torch import nn


class GammaEmbedding(nn.Module):
    """Embedding of the noise levels of all components as one vector.

    Parameters
    ----------
    n_components : int
        D.
    width : int
        Length of the embedding.
    centre, half_width : float
        Range of gamma, as its midpoint and half its length. The lowest frequency completes half a
        turn over it.
    n_frequencies : int
        Frequencies of the sines and cosines, each twice the one before.
    """

    def __init__(self, n_components, width, centre=0.0, half_width=8.0, n_frequencies=4):
        super().__init__()
        frequencies = 0.5 * math.pi * 2.0 ** torch.arange(n_frequencies, dtype=torch.float32)
        self.register_buffer("frequencies", frequencies[:, None], persistent=False)
        self.centre, self.half_width = centre, half_width
        n_features = (2 * n_frequencies + 1) * n_components
        self.linear = nn.Linear(n_features, width, dtype=torch.float32)

    def forward(self, gamma):
        """Embed gamma (B, D) as (B, width)."""
        u = ((gamma - self.centre) / self.half_width).unsqueeze(1)
        waves = u * self.frequencies
        features = torch.cat([u, torch.sin(waves), torch.cos(waves)], 1).flatten(1)
        return nn.functional.silu(self.linear(features))
