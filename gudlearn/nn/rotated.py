"""Image networks for noise in another basis: U^T before the network, U after it.

A rotation is a module whose ``forward`` is z = U x on flat images x (B, D), channels last, and
whose ``back`` is U^T z. U is orthonormal and complete.
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from gudlearn.nn.embeddings import GammaEmbedding
from gudlearn.nn.mlp import full_precision
from gudlearn.nn.randomness import RandomLayer


class IdentityRotation(nn.Module):
    """The identity: components are pixels."""

    def forward(self, pixels):
        """Components of flat images (B, D)."""
        return pixels

    def back(self, components):
        """Flat images of components (B, D)."""
        return components


class MatrixRotation(nn.Module):
    """Multiplication by a matrix, in autocast's dtype where autocast is on.

    Parameters
    ----------
    matrix : Tensor of shape (D, D)
        U, one row per component.
    """

    def __init__(self, matrix):
        super().__init__()
        self.register_buffer("matrix", matrix, persistent=False)
        self._rounded = None

    def _matrix(self):
        """Return U, or its cached copy in autocast's dtype."""
        device = self.matrix.device.type
        if not torch.is_autocast_enabled(device):
            return self.matrix
        dtype = torch.get_autocast_dtype(device)
        copy = self._rounded
        if copy is None or copy.dtype != dtype or copy.device != self.matrix.device:
            copy = self._rounded = self.matrix.to(dtype)
        return copy

    def forward(self, pixels):
        """Components of flat images (B, D)."""
        return F.linear(pixels, self._matrix())

    def back(self, components):
        """Flat images of components (B, D)."""
        return components @ self._matrix()


class ChannelRotation(nn.Module):
    """A matrix for each channel; channels are the last, fastest axis of pixels and components.

    Parameters
    ----------
    matrices : list of C Tensors of shape (D / C, D / C)
        As in `MatrixRotation`.
    """

    def __init__(self, matrices):
        super().__init__()
        self.channels = nn.ModuleList(map(MatrixRotation, matrices))

    def _by_channel(self, rows, rotate):
        n = len(self.channels)
        rotated = [rotate(channel, rows[:, c::n]) for c, channel in enumerate(self.channels)]
        return torch.stack(rotated, -1).flatten(1)

    def forward(self, pixels):
        """Components of flat images (B, D)."""
        return self._by_channel(pixels, MatrixRotation.forward)

    def back(self, components):
        """Flat images of components (B, D)."""
        return self._by_channel(components, MatrixRotation.back)


class BlockRotation(nn.Module):
    """A rotation for each block of pixels; components are ordered by block.

    Parameters
    ----------
    rotations : sequence of rotations
    columns : sequence of ndarray of int
        Pixel indices of each block; every pixel belongs to exactly one block.
    """

    def __init__(self, rotations, columns):
        super().__init__()
        self.blocks = nn.ModuleList(rotations)
        self._sizes = [len(block) for block in columns]
        order = torch.from_numpy(np.concatenate(columns))
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("inverse_order", order.argsort(), persistent=False)

    def forward(self, pixels):
        """Components of flat images (B, D)."""
        parts = pixels[:, self.order].split(self._sizes, 1)
        rotated = [block(part) for block, part in zip(self.blocks, parts, strict=True)]
        return torch.cat(rotated, 1)

    def back(self, components):
        """Flat images of components (B, D)."""
        parts = components.split(self._sizes, 1)
        pixels = [block.back(part) for block, part in zip(self.blocks, parts, strict=True)]
        return torch.cat(pixels, 1)[:, self.inverse_order]


class GridRotation(nn.Module):
    """Abstract rotation of the channels, then of each channel's image.

    Subclasses define ``rotate`` and ``rotate_back`` on images (B, c, height, width).

    Parameters
    ----------
    shape : (height, width)
    channel_axes : Tensor of shape (c, c)
        Orthonormal, one row per axis.
    """

    def __init__(self, shape, channel_axes):
        super().__init__()
        self.shape = shape
        self.register_buffer("channel_axes", channel_axes, persistent=False)

    def _grid(self, rows):
        return rows.view(-1, *self.shape, len(self.channel_axes))

    def forward(self, pixels):
        """Components of flat images (B, D)."""
        with full_precision(pixels.device.type):
            grid = self._grid(pixels.to(self.channel_axes.dtype)) @ self.channel_axes.T
            rotated = self.rotate(grid.permute(0, 3, 1, 2))
            return rotated.permute(0, 2, 3, 1).reshape(pixels.shape)

    def back(self, components):
        """Flat images of components (B, D)."""
        with full_precision(components.device.type):
            grid = self._grid(components.to(self.channel_axes.dtype)).permute(0, 3, 1, 2)
            grid = self.rotate_back(grid).permute(0, 2, 3, 1) @ self.channel_axes
            return grid.reshape(components.shape)


class FourierRotation(GridRotation):
    """The two-dimensional discrete Hartley transform, which is its own inverse."""

    def rotate(self, images):
        """Components of images (B, c, height, width)."""
        modes = torch.fft.fft2(images, norm="ortho")
        return modes.real - modes.imag

    rotate_back = rotate


class SplitRotation(GridRotation):
    """Two-dimensional wavelet transform: every level splits the approximation along both axes.

    Parameters
    ----------
    shape, channel_axes : see `GridRotation`
    splits : list of pairs of Tensors, (h, h) and (w, w)
        Orthonormal matrices of each level; the first level splits the whole image.
    """

    def __init__(self, shape, channel_axes, splits):
        super().__init__(shape, channel_axes)
        self.n_splits = len(splits)
        for level, (rows, columns) in enumerate(splits):
            self.register_buffer(f"rows{level}", rows, persistent=False)
            self.register_buffer(f"columns{level}", columns, persistent=False)

    def _split(self, level):
        return getattr(self, f"rows{level}"), getattr(self, f"columns{level}")

    def rotate(self, images):
        """Components of images (B, c, height, width)."""
        grid = images.clone()
        for level in range(self.n_splits):
            rows, columns = self._split(level)
            region = (..., slice(len(rows)), slice(len(columns)))
            grid[region] = rows @ grid[region].clone() @ columns.T
        return grid

    def rotate_back(self, components):
        """Images of components (B, c, height, width)."""
        grid = components.clone()
        for level in reversed(range(self.n_splits)):
            rows, columns = self._split(level)
            region = (..., slice(len(rows)), slice(len(columns)))
            grid[region] = rows.T @ grid[region].clone() @ columns
        return grid


class GammaMaps(nn.Module):
    """Noise levels of local components as images: each cell shows the mean of its components.

    Parameters
    ----------
    cell : LongTensor of shape (D',)
        Cell index of each component.
    pixels : LongTensor of shape (n_maps, height, width)
        Cell index that each pixel of each map shows.
    """

    # Maps are divided by this typical size of a noise level.
    UNIT = 8.0

    def __init__(self, cell, pixels):
        super().__init__()
        n_cells = 1 + int(max(cell.max(), pixels.max()))
        ones = torch.ones(len(cell), dtype=torch.float32)
        count = torch.zeros(n_cells, dtype=torch.float32).index_add_(0, cell, ones)
        # A cell without components shows the mean over all components.
        pixels = torch.where(count[pixels] > 0, pixels, n_cells)
        self.n_maps = len(pixels)
        self.register_buffer("cell", cell, persistent=False)
        self.register_buffer("pixels", pixels, persistent=False)
        self.register_buffer("weights", 1 / count.clamp(min=1), persistent=False)

    def forward(self, level):
        """Map noise levels (B, D') to (B, n_maps, height, width)."""
        sums = level.new_zeros(len(level), len(self.weights)).index_add_(1, self.cell, level)
        cells = torch.cat([sums * self.weights, level.mean(1, keepdim=True)], 1)
        return cells[:, self.pixels] / self.UNIT


class RotatedNetwork(RandomLayer):
    """An image network as a network of components.

    Its input is two images: the noisy components, scaled to unit variance unless they are missing,
    and their posterior mean under the marginals in the units of the data. Its output is an image
    of components of unit size.

    Parameters
    ----------
    network : nn.Module
        Called with images (B, C, H, W) and a condition (B, n_condition).
    rotation : nn.Module
    shape : (height, width, channels)
    active : LongTensor of shape (D',)
        Indices of the components that diffuse, out of all D.
    scale : Tensor of shape (D',)
        Standard deviation of each of them, in the units of the second image.
    offset : Tensor of shape (D,)
        The flat mean image, in the same units.
    log_variances : Tensor of shape (D',)
        Log-variances of the scaled components. gamma minus these is the negative effective log-SNR
        that the network sees.
    groups : LongTensor of shape (D',)
        Group index of each component. The condition contains the mean noise level of each group.
    maps : GammaMaps or None
        Noise levels as images, if components are local.
    n_condition : int
        Length of the condition.
    n_classes : int
        Class labels, the null label not counted; 0 for an unconditional network.
    mirror : bool
        Whether the output is averaged over an image and its mirror image, noise-level maps
        included. In training one of the two is chosen at random.
    """

    sees_images = True

    def __init__(
        self, network, rotation, shape, *, active, scale, offset, log_variances, groups, maps,
        n_condition, n_classes=0, mirror=False,
    ):  # fmt: skip
        super().__init__()
        self.network, self.rotation, self.maps, self.shape = network, rotation, maps, shape
        self.mirror = mirror
        mean = torch.zeros(int(groups.max()) + 1, len(groups), dtype=torch.float32)
        mean[groups, torch.arange(len(groups))] = 1.0
        self.embedding = GammaEmbedding(len(mean), n_condition)
        self.condition = nn.Linear(n_condition, n_condition, dtype=torch.float32)
        self.labels = None
        if n_classes:
            self.labels = nn.Embedding(n_classes + 1, n_condition, dtype=torch.float32)
        fixed = {
            "active": active, "scale": scale, "offset": offset, "log_variances": log_variances,
            "mean": mean / mean.sum(1, keepdim=True),
        }  # fmt: skip
        for name, value in fixed.items():
            self.register_buffer(name, value, persistent=False)

    def hidden_matrices(self):
        """Return the weights that an orthogonalised optimiser may take."""
        return getattr(self.network, "hidden_matrices", list)()

    def _images(self, rows):
        return rows.view(-1, *self.shape).permute(0, 3, 1, 2)

    def _with_inactive(self, components):
        """Return all D components: the active ones (B, D') as given, the others zero."""
        if len(self.active) == len(self.offset):
            return components
        everything = components.new_zeros(len(components), len(self.offset))
        return everything.index_copy_(1, self.active, components)

    def _condition(self, level, labels):
        hidden = self.condition(self.embedding(F.linear(level, self.mean)))
        if labels is not None:
            hidden = hidden + self.labels(labels)
        return F.silu(hidden)

    def _both_ways(self, images, condition):
        """Apply the network to images (B, C, H, W) and their mirror images."""
        if self.training:
            u = torch.rand(
                len(images), 1, 1, 1, dtype=torch.float32, device=self.noise_device(images),
                generator=self.generator,
            )  # fmt: skip
            mirrored = (u < 0.5).to(images.device)
            out = self.network(torch.where(mirrored, images.flip(3), images), condition)
            return torch.where(mirrored, out.flip(3), out)
        both = torch.cat([images, images.flip(3)])
        out, mirrored = self.network(both, condition.repeat(2, 1)).chunk(2)
        return (out + mirrored.flip(3)) / 2

    def forward(self, inputs, gamma, labels=None):
        """Map inputs (B, 2, D'), noise levels (B, D') and labels (B,), if any, to (B, D')."""
        with full_precision(inputs.device.type):
            both = torch.cat([inputs[:, 0], inputs[:, 1] * self.scale])
            noisy, denoised = self.rotation.back(self._with_inactive(both)).chunk(2)
            images = [self._images(noisy), self._images(denoised + self.offset)]
            level = gamma - self.log_variances
            if self.maps is not None:
                images.append(self.maps(level))
            condition = self._condition(level, labels)
        network = self._both_ways if self.mirror else self.network
        out = network(torch.cat(images, 1), condition)
        out = self.rotation(out.permute(0, 2, 3, 1).reshape(len(inputs), -1))
        if len(self.active) < len(self.offset):
            out = out[:, self.active]
        return out.to(inputs.dtype)
