"""Image networks where noise acts in another basis: U^T before the network, U after it.

A rotation is a module whose ``forward`` is z = U x on flat images x (B, D), channels last, and
whose ``back`` is U^T. U is orthonormal and complete.
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from gudlearn.nn.embeddings import GammaEmbedding
from gudlearn.nn.mlp import full_precision


class IdentityRotation(nn.Module):
    """The pixels themselves."""

    def forward(self, pixels):
        """Components of flat images (B, D)."""
        return pixels

    def back(self, components):
        """Flat images of components (B, D)."""
        return components


class MatrixRotation(nn.Module):
    """One matrix; a product in autocast's type where autocast is on.

    Parameters
    ----------
    matrix : Tensor of shape (D, D)
        U, components as rows.
    """

    def __init__(self, matrix):
        super().__init__()
        self.register_buffer("matrix", matrix, persistent=False)
        self._rounded = None

    def _matrix(self):
        """U, or a copy in autocast's type that is made once."""
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
    """One matrix for each channel, the last and fastest axis of pixels and of components.

    Parameters
    ----------
    matrices : list of Tensor of shape (D / C, D / C)
        Of C channels, as in `MatrixRotation`.
    """

    def __init__(self, matrices):
        super().__init__()
        self.channels = nn.ModuleList(map(MatrixRotation, matrices))

    def _each(self, rows, turn):
        n = len(self.channels)
        turned = [turn(channel, rows[:, c::n]) for c, channel in enumerate(self.channels)]
        return torch.stack(turned, -1).flatten(1)

    def forward(self, pixels):
        """Components of flat images (B, D)."""
        return self._each(pixels, MatrixRotation.forward)

    def back(self, components):
        """Flat images of components (B, D)."""
        return self._each(components, MatrixRotation.back)


class BlockRotation(nn.Module):
    """A rotation for each block of pixels, whose components follow one another.

    Parameters
    ----------
    rotations : sequence of rotations
    columns : sequence of ndarray of int
        The pixels of each block; each pixel is in one of them.
    """

    def __init__(self, rotations, columns):
        super().__init__()
        self.blocks = nn.ModuleList(rotations)
        self._sizes = [len(block) for block in columns]
        order = torch.from_numpy(np.concatenate(columns))
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("place", order.argsort(), persistent=False)

    def forward(self, pixels):
        """Components of flat images (B, D)."""
        parts = pixels[:, self.order].split(self._sizes, 1)
        return torch.cat([turn(part) for turn, part in zip(self.blocks, parts, strict=True)], 1)

    def back(self, components):
        """Flat images of components (B, D)."""
        parts = components.split(self._sizes, 1)
        found = [turn.back(part) for turn, part in zip(self.blocks, parts, strict=True)]
        return torch.cat(found, 1)[:, self.place]


class GridRotation(nn.Module):
    """Rotates the channels, then each channel's picture.

    Parameters
    ----------
    shape : (height, width)
    channel_axes : Tensor of shape (c, c)
        Orthonormal, axes as rows.
    """

    def __init__(self, shape, channel_axes):
        super().__init__()
        self.shape = shape
        self.register_buffer("channel_axes", channel_axes, persistent=False)

    def _pictures(self, rows):
        return rows.view(-1, *self.shape, len(self.channel_axes))

    def forward(self, pixels):
        """Components of flat images (B, D)."""
        with full_precision(pixels.device.type):
            grid = self._pictures(pixels.to(self.channel_axes.dtype)) @ self.channel_axes.T
            rotated = self.rotate(grid.permute(0, 3, 1, 2))
            return rotated.permute(0, 2, 3, 1).reshape(pixels.shape)

    def back(self, components):
        """Flat images of components (B, D)."""
        with full_precision(components.device.type):
            grid = self._pictures(components.to(self.channel_axes.dtype)).permute(0, 3, 1, 2)
            grid = self.rotate_back(grid).permute(0, 2, 3, 1) @ self.channel_axes
            return grid.reshape(components.shape)


class FourierRotation(GridRotation):
    """The discrete Hartley transform over two axes; its own inverse."""

    def rotate(self, pictures):
        """Components of pictures (B, c, height, width)."""
        modes = torch.fft.fft2(pictures, norm="ortho")
        return modes.real - modes.imag

    rotate_back = rotate


class SplitRotation(GridRotation):
    """Wavelets: the approximation is split again and again, along both axes.

    Parameters
    ----------
    shape, channel_axes : see `GridRotation`
    splits : list of pairs of Tensors, (h, h) and (w, w)
        The orthonormal matrices of each split, the first one of the whole picture.
    """

    def __init__(self, shape, channel_axes, splits):
        super().__init__(shape, channel_axes)
        self.n_splits = len(splits)
        for level, (rows, columns) in enumerate(splits):
            self.register_buffer(f"rows{level}", rows, persistent=False)
            self.register_buffer(f"columns{level}", columns, persistent=False)

    def _split(self, level):
        return getattr(self, f"rows{level}"), getattr(self, f"columns{level}")

    def rotate(self, pictures):
        """Components of pictures (B, c, height, width)."""
        grid = pictures.clone()
        for level in range(self.n_splits):
            rows, columns = self._split(level)
            region = (..., slice(len(rows)), slice(len(columns)))
            grid[region] = rows @ grid[region].clone() @ columns.T
        return grid

    def rotate_back(self, components):
        """Pictures of components (B, c, height, width)."""
        grid = components.clone()
        for level in reversed(range(self.n_splits)):
            rows, columns = self._split(level)
            region = (..., slice(len(rows)), slice(len(columns)))
            grid[region] = rows.T @ grid[region].clone() @ columns
        return grid


class GammaMaps(nn.Module):
    """Noise levels of local components as pictures: the mean of those that meet in a cell.

    Parameters
    ----------
    cell : LongTensor of shape (D',)
        The cell of each component.
    pixels : LongTensor of shape (n_maps, height, width)
        The cell that each pixel of each map shows.
    """

    # A map of noise levels is divided by this to be of unit size.
    UNIT = 8.0

    def __init__(self, cell, pixels):
        super().__init__()
        n_cells = 1 + int(max(cell.max(), pixels.max()))
        count = torch.zeros(n_cells).index_add_(0, cell, torch.ones(len(cell)))
        # A cell without components shows the mean of all.
        pixels = torch.where(count[pixels] > 0, pixels, n_cells)
        self.n_maps = len(pixels)
        self.register_buffer("cell", cell, persistent=False)
        self.register_buffer("pixels", pixels, persistent=False)
        self.register_buffer("share", 1 / count.clamp(min=1), persistent=False)

    def forward(self, level):
        """Levels (B, D') to maps (B, n_maps, height, width)."""
        sums = level.new_zeros(len(level), len(self.share)).index_add_(1, self.cell, level)
        cells = torch.cat([sums * self.share, level.mean(1, keepdim=True)], 1)
        return cells[:, self.pixels] / self.UNIT


class RotatedNetwork(nn.Module):
    """A network of images as a network of components.

    It is shown two images: the noisy components, each of unit variance but for those that are
    missing, and what the marginals make of them, in the units of the data. It answers with an
    image of components of unit size.

    Parameters
    ----------
    network : nn.Module
        Called with maps (B, C, H, W) and a condition (B, n_condition).
    rotation : nn.Module
    shape : (height, width, channels)
    active : LongTensor of shape (D',)
        The components that diffuse, out of all D.
    scale : Tensor of shape (D',)
        Standard deviation of each, in the units of the second image.
    offset : Tensor of shape (D,)
        The flat mean image, in the same units.
    log_variances : Tensor of shape (D',)
        Of the scaled components: with them gamma is told as a negative effective log-SNR.
    groups : LongTensor of shape (D',)
        Groups of components whose mean level goes into the condition.
    maps : GammaMaps or None
        Levels as pictures, where components are local.
    n_condition : int
    n_classes : int
        Labels beside the one that stands for none; 0 where there are none.
    mirror : bool
        Whether answers are means of those to an image and to its mirror image, maps of levels
        mirrored too; in training those to one of them, at random.
    """

    sees_images = True

    def __init__(
        self, network, rotation, shape, *, active, scale, offset, log_variances, groups, maps,
        n_condition, n_classes=0, mirror=False,
    ):  # fmt: skip
        super().__init__()
        self.network, self.rotation, self.maps, self.shape = network, rotation, maps, shape
        self.mirror = mirror
        mean = torch.zeros(int(groups.max()) + 1, len(groups))
        mean[groups, torch.arange(len(groups))] = 1.0
        self.embedding = GammaEmbedding(len(mean), n_condition)
        self.condition = nn.Linear(n_condition, n_condition)
        self.labels = nn.Embedding(n_classes + 1, n_condition) if n_classes else None
        fixed = {
            "active": active, "scale": scale, "offset": offset, "log_variances": log_variances,
            "mean": mean / mean.sum(1, keepdim=True),
        }  # fmt: skip
        for name, value in fixed.items():
            self.register_buffer(name, value, persistent=False)

    def hidden_matrices(self):
        """Weights that an orthogonalised optimiser may take."""
        return getattr(self.network, "hidden_matrices", list)()

    def _pictures(self, rows):
        return rows.view(-1, *self.shape).permute(0, 3, 1, 2)

    def _spread(self, components):
        """Active components among all D; the others are zero."""
        if len(self.active) == len(self.offset):
            return components
        spread = components.new_zeros(len(components), len(self.offset))
        return spread.index_copy_(1, self.active, components)

    def _condition(self, level, labels):
        hidden = self.condition(self.embedding(F.linear(level, self.mean)))
        if labels is not None:
            hidden = hidden + self.labels(labels)
        return F.silu(hidden)

    def _both_ways(self, pictures, condition):
        """The network's answer to pictures (B, C, H, W) and their mirror images."""
        if self.training:
            some = torch.rand(len(pictures), 1, 1, 1, device=pictures.device) < 0.5
            out = self.network(torch.where(some, pictures.flip(3), pictures), condition)
            return torch.where(some, out.flip(3), out)
        both = torch.cat([pictures, pictures.flip(3)])
        out, mirrored = self.network(both, condition.repeat(2, 1)).chunk(2)
        return (out + mirrored.flip(3)) / 2

    def forward(self, inputs, gamma, labels=None):
        """Inputs (B, 2, D'), levels (B, D') and labels (B,), if any, to outputs (B, D')."""
        with full_precision(inputs.device.type):
            both = torch.cat([inputs[:, 0], inputs[:, 1] * self.scale])
            noisy, denoised = self.rotation.back(self._spread(both)).chunk(2)
            pictures = [self._pictures(noisy), self._pictures(denoised + self.offset)]
            level = gamma - self.log_variances
            if self.maps is not None:
                pictures.append(self.maps(level))
            condition = self._condition(level, labels)
        answer = self._both_ways if self.mirror else self.network
        out = answer(torch.cat(pictures, 1), condition)
        out = self.rotation(out.permute(0, 2, 3, 1).reshape(len(inputs), -1))
        if len(self.active) < len(self.offset):
            out = out[:, self.active]
        return out.to(inputs.dtype)
