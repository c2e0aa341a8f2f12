"""Sources of training batches on a device: rows as components, and images."""

import numpy as np
import torch

from gudlearn.model.device import sees_images
from gudlearn.training.trainer import Batch

# Fraction of the labels that are replaced by the null label in training.
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
        The null label, which stands for no class.

    Attributes
    ----------
    missing : BoolTensor of shape (n, D') or None
        Active components that are missing in the data.
    imputed : bool
        Whether they hold imputed values, which a network may see.
    self_index : LongTensor of shape (n,) or None
        Indices of the rows in the reference set, -1 for others.
    """

    def __init__(self, encoding, preconditioner, rows, device, null=0):
        self.encoding, self.device, self.null = encoding, device, null
        self.labels = None if rows.labels is None else rows.labels.to(device)
        self._keys = rows.keys
        self.self_index = preconditioner.self_index(rows.keys.to(device))
        self.missing = missing_components(encoding, rows.missing, device)
        self._put(rows.filled(encoding.fill_values))
        self.imputed, self.absent = False, None

    def __len__(self):
        return len(self._X)

    def _put(self, X):
        self._X, self._z = X, None
        self._indices, _ = self.encoding.bin_indices(X)

    def impute(self, X):
        """Replace the rows by X (n, F), the same rows with missing values imputed."""
        self._put(X)
        absent = self.encoding.kinds.absent(X)
        self.imputed, self.absent = True, missing_components(self.encoding, absent, self.device)

    def start_at(self, epoch):
        """Do nothing: every epoch has the same rows."""

    def begin_epoch(self, draw):
        """Encode the rows, or keep their components if nothing is dequantised.

        Parameters
        ----------
        draw : int
            Index of the draw of uniform noise.
        """
        encoding = self.encoding
        if self._z is None or encoding.dequantised.any():
            z = encoding.encode(self._X, self._indices, self._keys, draw)
            z = z[:, encoding.ends.active]
            self._z = torch.from_numpy(z).to(self.device, torch.float32)

    def take(self, index, generator):
        """The `Batch` of rows of an index; some of its labels are replaced by the null label."""
        labels = _batch_labels(self, index, generator)
        return Batch(
            self._z[index], labels, _take(self.missing, index), _take(self.self_index, index),
            _take(self.absent, index),
        )  # fmt: skip

    def components(self, index):
        """Components of the rows of an index."""
        return self._z[index]


class ImageRows:
    """Images on a device in their own dtype, rotated batch by batch.

    Parameters
    ----------
    encoding, rows, device, null : see `ComponentRows`
    rotation : nn.Module
        Rotation of the basis, on the device.
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
        # Values that float32 cannot hold may differ from their mean by less than its resolution.
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
        """Mask of components, from that of values (n, F): missing columns are components."""
        return None if values is None else values[:, self._column] & (self._column >= 0)

    def _put(self, X):
        self._X = torch.from_numpy(np.ascontiguousarray(X)).to(self.device)

    def impute(self, X):
        """Replace the images by X (n, F), the same images with missing values imputed."""
        self._put(X)
        self.imputed = True

    def start_at(self, epoch):
        """Do nothing: every epoch has the same images."""

    def begin_epoch(self, draw):
        """Do nothing: images are encoded batch by batch."""

    def take(self, index, generator):
        """The `Batch` of images of an index; some of its labels are replaced by the null label."""
        X, missing = self._X[index].to(self._arithmetic), _take(self._missing_values, index)
        if self.flips:
            u = torch.rand(len(X), generator=generator, device=self.device, dtype=torch.float32)
            mirrored = u < 0.5
            X = self._mirror(X, mirrored)
            missing = None if missing is None else self._mirror(missing, mirrored)
        if self._width is not None:
            u = torch.rand(X.shape, generator=generator, device=self.device, dtype=torch.float32)
            X = X + self._width * (u - 0.5)
        labels = _batch_labels(self, index, generator)
        return Batch(self._rotate(X), labels, self._missing(missing))

    def _mirror(self, X, which):
        images = X.view(-1, *self.encoding.shape)
        return torch.where(which[:, None, None, None], images.flip(2), images).flatten(1)

    def components(self, index):
        """Components of the images of an index."""
        return self._rotate(self._X[index].to(self._arithmetic))

    def _rotate(self, X):
        with torch.no_grad():
            z = self.rotation((X - self._mean).to(torch.float32))
            z = z if self._active is None else z[:, self._active]
            return z / self._scale


def missing_components(encoding, missing, device):
    """Active components of missing values, a mask (n, F) or None; (n, D') bool, or None."""
    if missing is None:
        return None
    missing = encoding.components_in(missing)[:, encoding.ends.active]
    return torch.from_numpy(missing).to(device)


def _take(array, index):
    return None if array is None else array[index]


def _batch_labels(source, index, generator):
    """Labels of a batch, some replaced by null: the network also learns the marginal density."""
    if source.labels is None:
        return None
    labels = source.labels[index]
    u = torch.rand(len(labels), generator=generator, device=labels.device, dtype=torch.float32)
    return torch.where(u < _UNLABELLED, source.null, labels)


def rows_on_device(state, rows, trainer, flips):
    """The source of `Rows` for a trainer: `ImageRows` if its network works on images.

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
