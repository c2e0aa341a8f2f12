"""Layers that networks share: weights are matrices, autocast chooses the arithmetic."""

import math

import torch
from torch import nn
from torch.nn import functional as F

from gudlearn.nn.randomness import RandomLayer


class Dropout(RandomLayer):
    """Dropout with a generator of its own.

    On a CPU a generator of its own draws one byte for each entry: a float takes ten times as long,
    which was a tenth of a training step. The probability is then rounded to a multiple of 1/256.

    Parameters
    ----------
    p : float in [0, 1)
        Probability that an entry is set to zero in training.
    """

    def __init__(self, p):
        super().__init__()
        self.p = p
        self.draws_noise = p > 0

    def forward(self, x):
        """Drop entries of a tensor x of any shape; in evaluation x is returned as it is."""
        if not (self.training and self.draws_noise):
            return x
        if self.generator is None:
            return F.dropout(x, self.p)
        if self.generator.device.type == "cpu":
            return x * self._scaled_bytes(x)
        noise = torch.empty_like(x, device=self.generator.device)
        noise = noise.bernoulli_(1 - self.p, generator=self.generator).div_(1 - self.p)
        return x * noise.to(x.device)

    def _scaled_bytes(self, x):
        """Zero for dropped entries of x, and for others what keeps the mean; like x."""
        n_kept = min(max(round(256 * (1 - self.p)), 1), 256)
        words = torch.empty(-(-x.numel() // 8), dtype=torch.int64)
        # Without bounds a word's highest bit would always be zero.
        words.random_(torch.iinfo(torch.int64).min, None, generator=self.generator)
        like = torch.empty_like(x, device="meta")
        of_entry = words.view(torch.uint8).as_strided(like.shape, like.stride()).to(x.device)
        return (of_entry < n_kept).to(x.dtype).mul_(256 / n_kept)


class Conv(nn.Module):
    """Convolution whose weight is a matrix (out, k * k * in), as orthogonalised optimisers need.

    Parameters
    ----------
    n_in, n_out : int
        Channels.
    kernel : int
        Side of the kernel: odd, then the input is padded to keep its size, or equal to the stride.
    stride : int
    zero : bool
        Whether the weights start at zero.
    """

    def __init__(self, n_in, n_out, kernel=3, stride=1, zero=False):
        super().__init__()
        self.n_in, self.kernel, self.stride = n_in, kernel, stride
        bound = 0.0 if zero else 1 / math.sqrt(n_in * kernel * kernel)
        weight = torch.empty(n_out, kernel * kernel * n_in, dtype=torch.float32)
        self.weight = nn.Parameter(weight.uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(n_out, dtype=torch.float32))

    def forward(self, x):
        """Map (B, n_in, H, W) to (B, n_out, H / stride, W / stride)."""
        k = self.kernel
        # This view of the matrix is a kernel in channels-last layout.
        weight = self.weight.view(-1, k, k, self.n_in).permute(0, 3, 1, 2)
        padding = k // 2 if self.stride == 1 else 0
        return F.conv2d(x, weight, self.bias, self.stride, padding)


class ChannelNorm(nn.Module):
    """Layer norm over the channels of each pixel, without parameters."""

    def forward(self, x):
        """Normalise feature maps (B, C, H, W), preferably in channels-last memory format."""
        return F.layer_norm(x.permute(0, 2, 3, 1), x.shape[1:2]).permute(0, 3, 1, 2)


def n_heads(width, size=32):
    """Number of attention heads: at most one per `size` channels, and a divisor of the width."""
    return max(n for n in range(1, max(1, width // size) + 1) if width % n == 0)


class Attention(nn.Module):
    """Multi-head self-attention with normalised queries and keys.

    Parameters
    ----------
    width, n_heads : int
        Channels of a token, and heads.
    """

    def __init__(self, width, n_heads):
        super().__init__()
        self.n_heads = n_heads
        self.qkv = nn.Linear(width, 3 * width, dtype=torch.float32)
        self.out = nn.Linear(width, width, dtype=torch.float32)

    def forward(self, tokens):
        """Map tokens (B, N, width) to tokens (B, N, width)."""
        shape = (*tokens.shape[:2], 3, self.n_heads, -1)
        q, k, v = self.qkv(tokens).view(shape).permute(2, 0, 3, 1, 4)
        q, k = (F.layer_norm(p, p.shape[-1:]).to(v.dtype) for p in (q, k))
        return self.out(mix(q, k, v).transpose(1, 2).flatten(2))


def mix(q, k, v):
    """Scaled dot-product attention of queries, keys and values, each (B, heads, N, width)."""
    if q.device.type != "cpu":
        return F.scaled_dot_product_attention(q, k, v)
    # The fused CPU kernel takes four to seven times as long in bfloat16.
    weights = (q / math.sqrt(q.shape[-1])) @ k.transpose(-1, -2)
    return weights.softmax(-1).to(v.dtype) @ v
