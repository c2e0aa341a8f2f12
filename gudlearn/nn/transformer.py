"""The transformer for images."""

import torch
from torch import nn
from torch.nn import functional as F

from gudlearn.nn.layers import Attention, Dropout
from gudlearn.nn.mlp import full_precision
from gudlearn.nn.randomness import checkpointed


class TransformerBlock(nn.Module):
    """Attention, then two layers; each after a modulated norm and before a gate (adaLN-Zero).

    Parameters
    ----------
    width, n_heads, n_condition : int
    dropout : float in [0, 1)
    """

    def __init__(self, width, n_heads, n_condition, dropout=0.0):
        super().__init__()
        self.attention = Attention(width, n_heads)
        self.rise = nn.Linear(width, 4 * width, dtype=torch.float32)
        self.fall = nn.Linear(4 * width, width, dtype=torch.float32)
        self.film = nn.Linear(n_condition, 6 * width, dtype=torch.float32)
        # Gates start at zero: an untrained block is the identity.
        nn.init.zeros_(self.film.weight)
        nn.init.zeros_(self.film.bias)
        self.width, self.dropout = width, Dropout(dropout)

    def forward(self, tokens, condition):
        """Map tokens (B, N, width) and condition (B, n_condition) to tokens."""
        film = self.film(condition)[:, None].chunk(6, -1)
        h = torch.addcmul(film[1], F.layer_norm(tokens, (self.width,)), 1 + film[0])
        tokens = tokens + film[2] * self.attention(h)
        h = torch.addcmul(film[4], F.layer_norm(tokens, (self.width,)), 1 + film[3])
        h = self.dropout(F.gelu(self.rise(h), approximate="tanh"))
        return tokens + film[5] * self.fall(h)


class TransformerModule(nn.Module):
    """Transformer on patches of feature maps, with adaptive layer norm.

    Parameters
    ----------
    n_inputs, n_outputs : int
        Input and output channels.
    n_condition : int
        Length of the condition.
    shape : (height, width)
    width, n_blocks, n_heads, patch : int
        Length of a token, blocks, attention heads, and side of a patch in pixels.
    dropout : float in [0, 1)
    checkpointing : bool
        Whether the backward pass recomputes activations instead of storing them.

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
        self.first = nn.Linear(n_inputs * patch**2, width, dtype=torch.float32)
        place = torch.randn(self.grid[0] * self.grid[1], width, dtype=torch.float32)
        self.place = nn.Parameter(0.02 * place)
        self.blocks = nn.ModuleList(
            TransformerBlock(width, n_heads, n_condition, dropout) for _ in range(n_blocks)
        )
        self.last_film = nn.Linear(n_condition, 2 * width, dtype=torch.float32)
        self.last = nn.Linear(width, n_outputs * patch**2, dtype=torch.float32)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def hidden_matrices(self):
        """Return the weights that an orthogonalised optimiser may take."""
        return [
            p for name, p in self.blocks.named_parameters() if p.ndim == 2 and "film" not in name
        ]

    def forward(self, maps, condition):
        """Map (B, n_inputs, H, W) and condition (B, n_condition) to (B, n_outputs, H, W)."""
        height, width = maps.shape[2:]
        padded = F.pad(maps, (0, -width % self.patch, 0, -height % self.patch))
        with full_precision(maps.device.type):
            tokens = F.pixel_unshuffle(padded, self.patch).flatten(2).transpose(1, 2)
            tokens = self.first(tokens) + self.place
        for block in self.blocks:
            if self.checkpointing and torch.is_grad_enabled():
                tokens = checkpointed(block, tokens, condition)
            else:
                tokens = block(tokens, condition)
        with full_precision(maps.device.type):
            scale, shift = self.last_film(condition)[:, None].chunk(2, -1)
            h = F.layer_norm(tokens.to(self.last.weight.dtype), (self.width,))
            out = self.last(torch.addcmul(shift, h, 1 + scale)).transpose(1, 2)
            out = out.unflatten(2, self.grid)
            return F.pixel_shuffle(out, self.patch)[..., :height, :width]
