"""The convolutional network for images."""

import torch
from torch import nn
from torch.nn import functional as F

from gudlearn.nn.layers import Attention, ChannelNorm, Conv, Dropout, n_heads
from gudlearn.nn.mlp import full_precision
from gudlearn.nn.randomness import checkpointed


class ResidualBlock(nn.Module):
    """Two convolutions with a skip connection; the condition modulates the second one.

    Parameters
    ----------
    width : int
        Channels.
    n_condition : int
        Length of the condition.
    dropout : float in [0, 1)
    """

    def __init__(self, width, n_condition, dropout=0.0):
        super().__init__()
        self.norm = ChannelNorm()
        self.first, self.second = Conv(width, width), Conv(width, width)
        self.film = nn.Linear(n_condition, 2 * width, dtype=torch.float32)
        self.dropout = Dropout(dropout)

    def forward(self, x, condition):
        """Map (B, width, H, W) and condition (B, n_condition) to the same shape."""
        scale, shift = self.film(condition)[:, :, None, None].chunk(2, 1)
        h = self.first(F.silu(self.norm(x)))
        h = self.dropout(F.silu(torch.addcmul(shift, self.norm(h), 1 + scale)))
        return x + self.second(h)


class AttentionBlock(nn.Module):
    """Self-attention over all pixels with a skip connection."""

    def __init__(self, width, n_heads):
        super().__init__()
        self.norm = ChannelNorm()
        self.attention = Attention(width, n_heads)

    def forward(self, x, condition):
        """Map (B, width, H, W) to the same shape; the condition is not used."""
        tokens = self.norm(x).flatten(2).transpose(1, 2)
        return x + self.attention(tokens).transpose(1, 2).view_as(x)


class UNetModule(nn.Module):
    """U-Net of residual blocks, with self-attention at chosen resolutions.

    Parameters
    ----------
    n_inputs, n_outputs : int
        Input and output channels.
    n_condition : int
        Length of the condition.
    widths : tuple of int
        Channels at each resolution, the finest first.
    n_blocks : tuple of int
        Residual blocks at each resolution, in the encoder and again in the decoder.
    attention : tuple of bool
        Whether each resolution has attention.
    patch : int
        Side, in pixels, of the squares that become one pixel of the finest resolution.
    dropout : float in [0, 1)
    checkpointing : bool
        Whether the backward pass recomputes activations instead of storing them.
    """

    def __init__(
        self, n_inputs, n_outputs, n_condition, widths, n_blocks, attention, patch, dropout,
        checkpointing=False,
    ):  # fmt: skip
        super().__init__()
        self.patch, self.depth, self.checkpointing = patch, len(widths) - 1, checkpointing
        self.first = Conv(n_inputs * patch**2, widths[0])
        self.last = Conv(widths[0], n_outputs * patch**2, zero=True)
        self.norm = ChannelNorm()

        def stage(level):
            width = widths[level]
            blocks = []
            for _ in range(n_blocks[level]):
                blocks.append(ResidualBlock(width, n_condition, dropout))
                if attention[level]:
                    blocks.append(AttentionBlock(width, n_heads(width)))
            return nn.ModuleList(blocks)

        levels = range(len(widths))
        self.down = nn.ModuleList(stage(level) for level in levels)
        self.up = nn.ModuleList(stage(level) for level in levels)
        pairs = list(zip(widths, widths[1:], strict=False))
        self.shrink = nn.ModuleList(Conv(a, b, kernel=2, stride=2) for a, b in pairs)
        self.grow = nn.ModuleList(Conv(b, 4 * a, kernel=1) for a, b in pairs)

    def hidden_matrices(self):
        """Return the weights that an orthogonalised optimiser may take."""
        parts = [self.down, self.up, self.shrink, self.grow]
        return [
            p for part in parts for name, p in part.named_parameters()
            if p.ndim == 2 and "film" not in name
        ]  # fmt: skip

    def _apply_block(self, block, h, condition):
        if self.checkpointing and torch.is_grad_enabled():
            return checkpointed(block, h, condition)
        return block(h, condition)

    def forward(self, maps, condition):
        """Map (B, n_inputs, H, W) and condition (B, n_condition) to (B, n_outputs, H, W)."""
        height, width = maps.shape[2:]
        unit = self.patch * 2**self.depth
        padded = F.pad(maps, (0, -width % unit, 0, -height % unit))
        with full_precision(maps.device.type):
            h = F.pixel_unshuffle(padded, self.patch)
            h = self.first(h.contiguous(memory_format=torch.channels_last))
        # Autocast leaves sums in float32; cast once so that all hidden maps have its dtype.
        if torch.is_autocast_enabled(maps.device.type):
            h = h.to(torch.get_autocast_dtype(maps.device.type))
        skips = []
        for level, blocks in enumerate(self.down):
            if level:
                h = self.shrink[level - 1](h)
            for block in blocks:
                h = self._apply_block(block, h, condition)
            skips.append(h)
        for level in reversed(range(self.depth + 1)):
            if level < self.depth:
                h = skips[level] + F.pixel_shuffle(self.grow[level](h), 2)
            for block in self.up[level]:
                h = self._apply_block(block, h, condition)
        with full_precision(maps.device.type):
            out = self.last(self.norm(h.to(self.last.weight.dtype)))
            return F.pixel_shuffle(out, self.patch)[..., :height, :width]
