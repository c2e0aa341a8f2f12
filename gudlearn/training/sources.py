"""Rows on a device as training takes them: tables as components, images as they are."""

import numpy as np
import torch

from gudlearn._random import row_keys
from gudlearn.training.trainer import Batch


def is_image_network(denoiser):
    """Whether the network of a denoiser is one of images; False for no denoiser."""
    return denoiser is not None and getattr(denoiser.network, "sees_images", False)


class ComponentRows:
    """Rows on a device as components, encoded once, or anew at every pass where bins are spread.

    Parameters
    ----------
    encoding : Encoding
    X : ndarray of shape (n, F)
    device : torch.device
    labels : LongTensor of shape (n,) or None
    null : int
        The label that stands for none.

    Attributes
    ----------
    missing : BoolTensor of shape (n, D') or None
        What the data do not tell.
    filled : bool
        Whether something stands there that may be shown to a network.
    self_index : LongTensor of shape (n,) or None
        The remembered rows that they are.
    """

    def __init__(self, encoding, X, device, labels=None, null=0):
        self.encoding, self.device = encoding, device
        self.labels = None if labels is None else labels.to(device)
        self.null = null
        self._keys = row_keys(X)
        self.self_index = encoding.places(self._keys, device)
        X, self.missing = without_holes(encoding, X, device)
        self._put(X)
        self.filled = False

    def __len__(self):
        return len(self.X)

    def _put(self, X):
        self.X, self._z = X, None
        self._levels, _ = self.encoding.clip(self.encoding.bins.levels(X))

    def fill(self, X):
        """Take the same rows with holes filled."""
        self._put(X)
        self.filled = True

    def renew(self, draw):
        """Begin a pass; the draw-th."""
        encoding = self.encoding
        if self._z is None or encoding.dequantised.any():
            z = encoding.encode(self.X, self._levels, self._keys, draw)[:, encoding.ends.active]
            self._z = torch.from_numpy(z).to(self.device, torch.float32)

    def take(self, index, generator):
        """Components of some rows, and what a denoiser is told of them; see `Batch`.

        Some of the labels are replaced by none.
        """
        labels = _some_labels(self, index, generator)
        return Batch(self._z[index], labels, _some(self.missing, index), _some(self.self_index, index))

    def components(self, index):
        """Components of some rows without chance."""
        return self._z[index]


class ImageRows:
    """Images on a device in their own dtype, rotated batch by batch.

    Parameters
    ----------
    encoding, X, device, labels, null : see `ComponentRows`
    rotation : nn.Module
        Of the basis, on the device.
    flips : bool
        Whether half of the images are mirrored, left to right.
    """

    # No images are remembered.
    self_index = None

    def __init__(self, encoding, X, device, labels, null, rotation, flips):
        self.encoding, self.rotation, self.flips, self.null = encoding, rotation, flips, null
        self.labels = None if labels is None else labels.to(device)
        self.device = device
        X, holes = encoding.fill(X)
        self._holes = None if holes is None else torch.from_numpy(holes).to(device)
        self._put(X)
        self.filled = False
        active, basis = encoding.ends.active, encoding.basis
        self._column = torch.from_numpy(encoding.columns[active]).to(device)
        self._active = None if active.all() else torch.from_numpy(np.flatnonzero(active)).to(device)
        # Of numbers that float32 cannot hold, what is left beside the mean may be all there is.
        exact = np.result_type(X.dtype, np.float32) == np.float32
        self._arithmetic = torch.float32 if exact else torch.float64
        self._mean = torch.from_numpy(basis.mean_).to(device, self._arithmetic)
        self._scale = torch.from_numpy(basis.scale_[active]).to(device, torch.float32)
        self._width = None
        if encoding.dequantised.any():
            width = np.where(encoding.dequantised, encoding.bins.width, 0.0)
            self._width = torch.from_numpy(width).to(device, torch.float32)

    def __len__(self):
        return len(self.X)

    @property
    def missing(self):
        """What the data do not tell, (n, D') bool, or None."""
        return self._missing(self._holes)

    def _missing(self, holes):
        """The components of holes (n, F), which are in columns that are components."""
        return None if holes is None else holes[:, self._column] & (self._column >= 0)

    def _put(self, X):
        self.X = torch.from_numpy(np.ascontiguousarray(X)).to(self.device)

    def fill(self, X):
        """Take the same images with holes filled, as `ComponentRows.fill` does rows."""
        self._put(X)
        self.filled = True

    def renew(self, draw):
        """Begin a pass."""

    def take(self, index, generator):
        """Components of some images, and what a denoiser is told of them, as of `ComponentRows`."""
        X, holes = self.X[index].to(self._arithmetic), _some(self._holes, index)
        if self.flips:
            mirrored = torch.rand(len(X), generator=generator, device=self.device) < 0.5
            X = self._mirror(X, mirrored)
            holes = None if holes is None else self._mirror(holes, mirrored)
        if self._width is not None:
            u = torch.rand(X.shape, generator=generator, device=self.device)
            X = X + self._width * (u - 0.5)
        labels = _some_labels(self, index, generator)
        return Batch(self._rotate(X), labels, self._missing(holes))

    def _mirror(self, X, which):
        pictures = X.view(-1, *self.encoding.shape)
        return torch.where(which[:, None, None, None], pictures.flip(2), pictures).flatten(1)

    def components(self, index):
        """Components of some rows without chance."""
        return self._rotate(self.X[index].to(self._arithmetic))

    def _rotate(self, X):
        with torch.no_grad():
            z = self.rotation((X - self._mean).to(torch.float32))
            z = z if self._active is None else z[:, self._active]
            return z / self._scale


def without_holes(encoding, X, device):
    """X with its holes filled in, and which active components they are, (n, D') bool or None."""
    X, holes = encoding.fill(X)
    if holes is None:
        return X, None
    _, missing = encoding.states(np.zeros_like(holes), holes)
    return X, torch.from_numpy(missing[:, encoding.ends.active]).to(device)


def _some(array, index):
    return None if array is None else array[index]


def _some_labels(rows, index, generator):
    """Labels of some rows; one in ten says none, so that the network learns both laws."""
    if rows.labels is None:
        return None
    labels = rows.labels[index]
    drop = torch.rand(len(labels), generator=generator, device=labels.device) < 0.1
    return torch.where(drop, rows.null, labels)


def rows_on_device(encoding, X, trainer, labels, null, flips):
    """Rows for a trainer, images where its network is one of images."""
    if is_image_network(trainer.denoiser):
        rotation = trainer.denoiser.network.rotation
        return ImageRows(encoding, X, trainer.device, labels, null, rotation, flips)
    return ComponentRows(encoding, X, trainer.device, labels, null)
