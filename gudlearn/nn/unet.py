"""The convolutional network for images."""

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from gudlearn.nn.layers import Attention, ChannelNorm, Conv, n_heads
from gudlearn.nn.mlp import full_precision


class ResidualBlock(nn.Module):
    """Two convolutions, the second one modulated by the condition, added to their input.

    Parameters
    ----------
    width : int
    n_condition : int
    dropout : float in [0, 1)
    """

    def __init__(self, width, n_condition, dropout=0.0):
        super().__init__()
        self.norm = ChannelNorm()
        self.first, self.second = Conv(width, width), Conv(width, width)
        self.film = nn.Linear(n_condition, 2 * width)
        self.dropout = dropout

    def forward(self, x, condition):
        """Maps (B, width, H, W) and condition (B, n_condition) to maps."""
        scale, shift = self.film(condition)[:, :, None, None].chunk(2, 1)
        h = self.first(F.silu(self.norm(x)))
        h = F.silu(torch.addcmul(shift, self.norm(h), 1 + scale))
        if self.dropout:
            h = F.dropout(h, self.dropout, self.training)
        return x + self.second(h)


class AttentionBlock(nn.Module):
    """Self-attention between all pixels, added to its input."""

    def __init__(self, width, n_heads):
        super().__init__()
        self.norm = ChannelNorm()
        self.attention = Attention(width, n_heads)

    def forward(self, x, condition):
        """Maps (B, width, H, W) to maps; the condition is not used."""
        tokens = self.norm(x).flatten(2).transpose(1, 2)
        return x + self.attention(tokens).transpose(1, 2).view_as(x)


class UNetModule(nn.Module):
    """Residual blocks at falling and rising resolution.

    Parameters
    ----------
    n_inputs, n_outputs : int
        Maps that come in and go out.
    n_condition : int
        Length of the condition.
    widths : tuple of int
        Channels at each resolution, the finest first.
    n_blocks : tuple of int
        Residual blocks at each resolution, on the way down and again on the way up.
    attention : tuple of bool
        Whether each resolution has attention.
    patch : int
        Side of the squares of pixels that are one pixel of the finest resolution.
    dropout : float in [0, 1)
    checkpointing : bool
        Whether blocks are computed again on the way back instead of kept.
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
        """Weights that an orthogonalised optimiser may take."""
        parts = [self.down, self.up, self.shrink, self.grow]
        return [
            p for part in parts for name, p in part.named_parameters()
            if p.ndim == 2 and "film" not in name
        ]  # fmt: skip

    def _through(self, block, h, condition):
        if self.checkpointing and torch.is_grad_enabled():
            return checkpoint(block, h, condition, use_reentrant=False)
        return block(h, condition)

    def forward(self, maps, condition):
        """Maps (B, n_inputs, H, W) and condition (B, n_condition) to maps (B, n_outputs, H, W)."""
        height, width = maps.shape[2:]
        unit = self.patch * 2**self.depth
        padded = F.pad(maps, (0, -width % unit, 0, -height % unit))
        with full_precision(maps.device.type):
            h = F.pixel_unshuffle(padded, self.patch)
            h = self.first(h.contiguous(memory_format=torch.channels_last))
        # Autocast leaves sums in float32; the hidden maps are in its type from here on.
        if torch.is_autocast_enabled(maps.device.type):
            h = h.to(torch.get_autocast_dtype(maps.device.type))
        skips = []
        for level, blocks in enumerate(self.down):
            if level:
                h = self.shrink[level - 1](h)
            for block in blocks:
                h = self._through(block, h, condition)
            skips.append(h)
        for level in reversed(range(self.depth + 1)):
            if level < self.depth:
                h = skips[level] + F.pixel_shuffle(self.grow[level](h), 2)
            for block in self.up[level]:
                h = self._through(block, h, condition)
        with full_precision(maps.device.type):
            out = self.last(self.norm(h.to(self.last.weight.dtype)))
            return F.pixel_shuffle(out, self.patch)[..., :height, :width]
