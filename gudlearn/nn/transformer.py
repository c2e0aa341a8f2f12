"""The transformer for images."""

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from gudlearn.nn.layers import Attention
from gudlearn.nn.mlp import full_precision


class TransformerBlock(nn.Module):
    """Attention and two layers, each between a modulated norm and a gate of the condition.

    Parameters
    ----------
    width, n_heads, n_condition : int
    dropout : float in [0, 1)
    """

    def __init__(self, width, n_heads, n_condition, dropout=0.0):
        super().__init__()
        self.attention = Attention(width, n_heads)
        self.rise, self.fall = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.film = nn.Linear(n_condition, 6 * width)
        # Gates start at zero: an untrained block passes its input on.
        nn.init.zeros_(self.film.weight)
        nn.init.zeros_(self.film.bias)
        self.width, self.dropout = width, dropout

    def forward(self, tokens, condition):
        """Tokens (B, N, width) and condition (B, n_condition) to tokens."""
        film = self.film(condition)[:, None].chunk(6, -1)
        h = torch.addcmul(film[1], F.layer_norm(tokens, (self.width,)), 1 + film[0])
        tokens = tokens + film[2] * self.attention(h)
        h = torch.addcmul(film[4], F.layer_norm(tokens, (self.width,)), 1 + film[3])
        h = F.gelu(self.rise(h), approximate="tanh")
        if self.dropout:
            h = F.dropout(h, self.dropout, self.training)
        return tokens + film[5] * self.fall(h)


class TransformerModule(nn.Module):
    """Patches as tokens, adaptive layer norm.

    Parameters
    ----------
    n_inputs, n_outputs : int
        Maps that come in and go out.
    n_condition : int
        Length of the condition.
    shape : (height, width)
    width, n_blocks, n_heads, patch : int
    dropout : float in [0, 1)
    checkpointing : bool
        Whether blocks are computed again on the way back instead of kept.

    References
    ----------
    Peebles, Xie (2023), https://arxiv.org/abs/2212.09748
    """

    def __init__(
        self, n_inputs, n_outputs, n_condition, shape, width, n_blocks, n_heads, patch, dropout,
        checkpointing,
    ):  # fmt: skip
        super().__init__()
        self.patch, self.width, self.checkpointing = patch, width, checkpointing
        self.grid = tuple(-(-n // patch) for n in shape)
        self.first = nn.Linear(n_inputs * patch**2, width)
        self.place = nn.Parameter(0.02 * torch.randn(self.grid[0] * self.grid[1], width))
        self.blocks = nn.ModuleList(
            TransformerBlock(width, n_heads, n_condition, dropout) for _ in range(n_blocks)
        )
        self.last_film = nn.Linear(n_condition, 2 * width)
        self.last = nn.Linear(width, n_outputs * patch**2)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def hidden_matrices(self):
        """Weights that an orthogonalised optimiser may take."""
        return [
            p for name, p in self.blocks.named_parameters() if p.ndim == 2 and "film" not in name
        ]

    def forward(self, maps, condition):
        """Maps (B, n_inputs, H, W) and condition (B, n_condition) to maps (B, n_outputs, H, W)."""
        height, width = maps.shape[2:]
        padded = F.pad(maps, (0, -width % self.patch, 0, -height % self.patch))
        with full_precision(maps.device.type):
            tokens = F.pixel_unshuffle(padded, self.patch).flatten(2).transpose(1, 2)
            tokens = self.first(tokens) + self.place
        for block in self.blocks:
            if self.checkpointing and torch.is_grad_enabled():
                tokens = checkpoint(block, tokens, condition, use_reentrant=False)
            else:
                tokens = block(tokens, condition)
        with full_precision(maps.device.type):
            scale, shift = self.last_film(condition)[:, None].chunk(2, -1)
            h = F.layer_norm(tokens.to(self.last.weight.dtype), (self.width,))
            out = self.last(torch.addcmul(shift, h, 1 + scale)).transpose(1, 2)
            out = out.unflatten(2, self.grid)
            return F.pixel_shuffle(out, self.patch)[..., :height, :width]
