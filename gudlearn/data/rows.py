"""Validated rows: values, the mask of observed values, keys of their noise, and labels."""

import hashlib
from dataclasses import dataclass, replace

import numpy as np
import torch

from gudlearn._random import row_keys
from gudlearn.data.missing import missing_mask


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of data, and what is computed from them once.

    Parameters
    ----------
    values : ndarray of shape (n, F)
        Any numeric dtype; NaN where a value is missing.
    observed : ndarray of shape (n, F) of bool, or None
        None means that every value is observed.
    keys : LongTensor of shape (n,)
        Hashes of the values: the noise inside scores and fits belongs to a row by its key.
    labels : LongTensor of shape (n,) or None
        Class indices.
    """

    values: np.ndarray
    observed: np.ndarray | None
    keys: torch.Tensor
    labels: torch.Tensor | None = None

    @classmethod
    def of(cls, X, labels=None):
        """Rows of an array X (n, F), and class indices (n,) or None."""
        missing = missing_mask(X)
        return cls(X, None if missing is None else ~missing, row_keys(X), labels)

    def __len__(self):
        return len(self.values)

    @property
    def in_memory(self):
        """The rows that are in memory: all of them."""
        return self

    @property
    def facts(self):
        """None: what there is to know of all rows can be computed from these."""
        return None

    @property
    def digest(self):
        """Hash of the values of all rows, a str: a key is one of the bits of a row."""
        return hashlib.sha256(self.keys.numpy().data).hexdigest()

    @property
    def per_epoch(self):
        """Number of rows of an epoch of training."""
        return len(self)

    @property
    def n_features(self):
        """Number of columns."""
        return self.values.shape[1]

    @property
    def missing(self):
        """Mask of the missing values, (n, F) of bool; None if nothing is missing."""
        return None if self.observed is None else ~self.observed

    @property
    def n_observed(self):
        """Number of observed values."""
        return self.values.size if self.observed is None else int(self.observed.sum())

    def take(self, index):
        """The rows that an index array or a slice selects."""
        observed = None if self.observed is None else self.observed[index]
        tensor_index = torch.from_numpy(index) if isinstance(index, np.ndarray) else index
        labels = None if self.labels is None else self.labels[tensor_index]
        return Rows(self.values[index], observed, self.keys[tensor_index], labels)

    def with_labels(self, labels):
        """The same rows with other class indices (n,), or None."""
        return replace(self, labels=labels)

    def filled(self, fill_values):
        """Values (n, F), with the entry of ``fill_values`` (F,) where a value is missing."""
        if self.observed is None:
            return self.values
        return np.where(self.observed, self.values, fill_values)
