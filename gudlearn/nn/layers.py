"""Layers that image networks share: weights are matrices, arithmetic follows autocast."""

import math

import torch
from torch import nn
from torch.nn import functional as F


class Conv(nn.Module):
    """Convolution whose weight is a matrix (out, k * k * in): an orthogonalised optimiser takes it.

    Parameters
    ----------
    n_in, n_out : int
    kernel : int
        Odd and padded to keep the size, or equal to the stride.
    stride : int
    zero : bool
        Whether the weights start at zero.
    """

    def __init__(self, n_in, n_out, kernel=3, stride=1, zero=False):
        super().__init__()
        self.n_in, self.kernel, self.stride = n_in, kernel, stride
        bound = 0.0 if zero else 1 / math.sqrt(n_in * kernel * kernel)
        weight = torch.empty(n_out, kernel * kernel * n_in)
        self.weight = nn.Parameter(weight.uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(n_out))

    def forward(self, x):
        """Maps (B, n_in, H, W) to maps (B, n_out, H / stride, W / stride)."""
        k = self.kernel
        # The view of a matrix in this order is the channels-last layout of a kernel.
        weight = self.weight.view(-1, k, k, self.n_in).permute(0, 3, 1, 2)
        padding = k // 2 if self.stride == 1 else 0
        return F.conv2d(x, weight, self.bias, self.stride, padding)


class ChannelNorm(nn.Module):
    """Layer norm over the channels of each pixel, without parameters."""

    def forward(self, x):
        """Maps (B, C, H, W), best in channels-last memory."""
        return F.layer_norm(x.permute(0, 2, 3, 1), x.shape[1:2]).permute(0, 3, 1, 2)


def n_heads(width, size=32):
    """Heads of attention: one for each so many channels, or as many fewer as divide the width."""
    return max(n for n in range(1, max(1, width // size) + 1) if width % n == 0)


class Attention(nn.Module):
    """Self-attention over tokens, queries and keys normalised.

    Parameters
    ----------
    width, n_heads : int
    """

    def __init__(self, width, n_heads):
        super().__init__()
        self.n_heads = n_heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, tokens):
        """Tokens (B, N, width) to tokens (B, N, width)."""
        shape = (*tokens.shape[:2], 3, self.n_heads, -1)
        q, k, v = self.qkv(tokens).view(shape).permute(2, 0, 3, 1, 4)
        q, k = (F.layer_norm(p, p.shape[-1:]).to(v.dtype) for p in (q, k))
        return self.out(mix(q, k, v).transpose(1, 2).flatten(2))


def mix(q, k, v):
    """Attention of queries to keys, by values; all (B, heads, N, width)."""
    if q.device.type != "cpu":
        return F.scaled_dot_product_attention(q, k, v)
    # The fused kernel of the CPU takes four to seven times as long in bfloat16.
    weights = (q / math.sqrt(q.shape[-1])) @ k.transpose(-1, -2)
    return weights.softmax(-1).to(v.dtype) @ v
