"""Rows on a device as training takes them: tables as components, images as they are."""

import numpy as np
import torch

from gudlearn.model.device import sees_images
from gudlearn.training.trainer import Batch

# Fraction of the labels that are replaced by none in training.
_UNLABELLED = 0.1


class ComponentRows:
    """Rows on a device as components, encoded once, or in each epoch where they are dequantised.

    Parameters
    ----------
    encoding : Encoding
    preconditioner : Preconditioner
    rows : Rows
    device : torch.device
    null : int
        The label that stands for none.

    Attributes
    ----------
    missing : BoolTensor of shape (n, D') or None
        Active components that are missing in the data.
    imputed : bool
        Whether imputed values stand there that may be shown to a network.
    self_index : LongTensor of shape (n,) or None
        Places of the rows in the reference set.
    """

    def __init__(self, encoding, preconditioner, rows, device, null=0):
        self.encoding, self.device, self.null = encoding, device, null
        self.labels = None if rows.labels is None else rows.labels.to(device)
        self._keys = rows.keys
        self.self_index = preconditioner.self_index(rows.keys.to(device))
        self.missing = missing_components(encoding, rows, device)
        self._put(rows.filled(encoding.fill_values))
        self.imputed = False

    def __len__(self):
        return len(self._X)

    def _put(self, X):
        self._X, self._z = X, None
        self._indices, _ = self.encoding.bin_indices(X)

    def impute(self, X):
        """Take the same rows X (n, F) with missing values imputed."""
        self._put(X)
        self.imputed = True

    def begin_epoch(self, draw):
        """Encode the rows where that is to be done; the draw-th time."""
        encoding = self.encoding
        if self._z is None or encoding.dequantised.any():
            z = encoding.encode(self._X, self._indices, self._keys, draw)
            z = z[:, encoding.ends.active]
            self._z = torch.from_numpy(z).to(self.device, torch.float32)

    def take(self, index, generator):
        """A `Batch` of some rows; some of its labels are replaced by none."""
        labels = _some_labels(self, index, generator)
        return Batch(
            self._z[index], labels, _some(self.missing, index), _some(self.self_index, index)
        )

    def components(self, index):
        """Components of some rows."""
        return self._z[index]


class ImageRows:
    """Images on a device in their own dtype, rotated batch by batch.

    Parameters
    ----------
    encoding, rows, device, null : see `ComponentRows`
    rotation : nn.Module
        Of the basis, on the device.
    flips : bool
        Whether half of the images are mirrored, left to right.
    """

    # Images have no reference set.
    self_index = None

    def __init__(self, encoding, rows, device, null, rotation, flips):
        self.encoding, self.rotation, self.flips, self.null = encoding, rotation, flips, null
        self.labels = None if rows.labels is None else rows.labels.to(device)
        self.device, missing = device, rows.missing
        self._missing_values = None if missing is None else torch.from_numpy(missing).to(device)
        X = rows.filled(encoding.fill_values)
        self._put(X)
        self.imputed = False
        active, basis = encoding.ends.active, encoding.basis
        self._column = torch.from_numpy(encoding.columns[active]).to(device)
        self._active = None if active.all() else torch.from_numpy(np.flatnonzero(active)).to(device)
        # Numbers that float32 cannot hold may differ from their mean by less than its resolution.
        exact = np.result_type(X.dtype, np.float32) == np.float32
        self._arithmetic = torch.float32 if exact else torch.float64
        self._mean = torch.from_numpy(basis.mean_).to(device, self._arithmetic)
        self._scale = torch.from_numpy(basis.scale_[active]).to(device, torch.float32)
        self._width = None
        if encoding.dequantised.any():
            width = np.where(encoding.dequantised, encoding.bins.width, 0.0)
            self._width = torch.from_numpy(width).to(device, torch.float32)

    def __len__(self):
        return len(self._X)

    @property
    def missing(self):
        """Active components that are missing in the data, (n, D') bool, or None."""
        return self._missing(self._missing_values)

    def _missing(self, values):
        """Components of missing values (n, F), whose columns are components."""
        return None if values is None else values[:, self._column] & (self._column >= 0)

    def _put(self, X):
        self._X = torch.from_numpy(np.ascontiguousarray(X)).to(self.device)

    def impute(self, X):
        """Take the same images with missing values imputed."""
        self._put(X)
        self.imputed = True

    def begin_epoch(self, draw):
        """Nothing is encoded beforehand."""

    def take(self, index, generator):
        """A `Batch` of some images; some of its labels are replaced by none."""
        X, missing = self._X[index].to(self._arithmetic), _some(self._missing_values, index)
        if self.flips:
            u = torch.rand(len(X), generator=generator, device=self.device, dtype=torch.float32)
            mirrored = u < 0.5
            X = self._mirror(X, mirrored)
            missing = None if missing is None else self._mirror(missing, mirrored)
        if self._width is not None:
            u = torch.rand(X.shape, generator=generator, device=self.device, dtype=torch.float32)
            X = X + self._width * (u - 0.5)
        labels = _some_labels(self, index, generator)
        return Batch(self._rotate(X), labels, self._missing(missing))

    def _mirror(self, X, which):
        images = X.view(-1, *self.encoding.shape)
        return torch.where(which[:, None, None, None], images.flip(2), images).flatten(1)

    def components(self, index):
        """Components of some images."""
        return self._rotate(self._X[index].to(self._arithmetic))

    def _rotate(self, X):
        with torch.no_grad():
            z = self.rotation((X - self._mean).to(torch.float32))
            z = z if self._active is None else z[:, self._active]
            return z / self._scale


def missing_components(encoding, rows, device):
    """Active components of `Rows` that are missing, (n, D') bool on a device, or None."""
    missing = rows.missing
    if missing is None:
        return None
    missing = encoding.components_in(missing)[:, encoding.ends.active]
    return torch.from_numpy(missing).to(device)


def _some(array, index):
    return None if array is None else array[index]


def _some_labels(source, index, generator):
    """Labels of some rows, some of them none: the network learns both distributions."""
    if source.labels is None:
        return None
    labels = source.labels[index]
    u = torch.rand(len(labels), generator=generator, device=labels.device, dtype=torch.float32)
    return torch.where(u < _UNLABELLED, source.null, labels)


def rows_on_device(state, rows, trainer, flips):
    """`Rows` for a trainer: images where its network is one of images.

    Parameters
    ----------
    state : ModelState
    rows : Rows
    trainer : Trainer
    flips : bool
        Whether half of the images are mirrored.
    """
    encoding, device, null = state.encoding, trainer.device, state.n_classes
    if sees_images(trainer.denoiser):
        rotation = trainer.denoiser.network.rotation
        return ImageRows(encoding, rows, device, null, rotation, flips)
    return ComponentRows(encoding, state.preconditioner, rows, device, null)
