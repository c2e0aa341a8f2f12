"""The source of training batches of a stream: buffers of several blocks, prepared in advance."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from gudlearn._atomic import isolated
from gudlearn.data.rows import Rows
from gudlearn.training.sources import ComponentRows


class StreamSource:
    """Rows of a stream on a device as components: one buffer of them in each epoch.

    A buffer holds blocks from several places of the stream, and its rows are drawn in random order.
    While the network is trained on one, a thread reads and encodes the next.

    Parameters
    ----------
    encoding : Encoding
    preconditioner : Preconditioner
    rows : StreamedRows
    device : torch.device

    Attributes
    ----------
    imputed : bool
        False: missing values of a stream are not imputed.
    """

    imputed, labels = False, None

    def __init__(self, encoding, preconditioner, rows, device):
        self._encoding, self._preconditioner, self._device = encoding, preconditioner, device
        self._rows, self._n, self._now, self._next = rows, rows.per_epoch, None, None
        self._thread = ThreadPoolExecutor(1, "gudlearn-stream")
        self.start_at(0)

    def __len__(self):
        return self._n

    def start_at(self, epoch):
        """Have the buffer of an epoch prepared, with which the next one begins."""
        if self._next is not None:
            self._next.result()
        self._buffers = _buffers(self._rows.shuffled_blocks(epoch * self._n), self._n)
        self._n_prepared = epoch
        self._next = self._thread.submit(self._prepare)

    @isolated
    def _prepare(self):
        """The next buffer on the device, `ComponentRows`."""
        values = next(self._buffers)
        rows = ComponentRows(self._encoding, self._preconditioner, Rows.of(values), self._device)
        rows.begin_epoch(self._n_prepared)
        self._n_prepared += 1
        return rows

    def begin_epoch(self, draw):
        """Go on to the next buffer, and have the one after it prepared."""
        self._now = self._next.result()
        self._next = self._thread.submit(self._prepare)

    def close(self):
        """End the thread, once it has prepared the buffer that it has begun."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    @property
    def missing(self):
        """Components of the buffer that are missing in the data, (n, D') bool, or None."""
        return self._now.missing

    @property
    def self_index(self):
        """Indices of the rows of the buffer in the reference set, (n,), or None."""
        return self._now.self_index

    def take(self, index, generator):
        """The `Batch` of rows of an index in the buffer."""
        return self._now.take(index, generator)

    def components(self, index):
        """Components of the rows of an index in the buffer."""
        return self._now.components(index)


def _buffers(blocks, size):
    """Yield rows (size, F) of blocks (n, F) as they come."""
    held, n_held = [], 0
    for block in blocks:
        held.append(block)
        n_held += len(block)
        while n_held >= size:
            rows = np.concatenate(held)
            yield rows[:size]
            held, n_held = [rows[size:]], n_held - size
