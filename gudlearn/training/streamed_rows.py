"""Rows of a stream, in place of `Rows` in memory: the second pass, and what a fit needs of them."""

import hashlib

import numpy as np

from gudlearn._random import mix, seed_keys
from gudlearn._specs import resolve
from gudlearn.data.first_pass import rows_per_block, summarised
from gudlearn.data.row_blocks import n_rows_of
from gudlearn.data.rows import Rows
from gudlearn.data.sketches import RowSample
from gudlearn.data.streams import read_ahead
from gudlearn.encoding.facts import StreamFacts
from gudlearn.training.split import n_held_out

# Rows of an epoch of a stream, and fewer where they would have more entries; rows of a block.
ROWS_PER_EPOCH, _MOST_ENTRIES, _LEAST_ROWS = 1 << 17, 1 << 23, 1 << 12
ROWS_PER_BLOCK = 1 << 14
# Salts of the seeds of the sample, of the held-out rows and of the order of blocks.
_SAMPLE, _HELD_OUT, _ORDER = 1, 2, 3


class StreamedRows:
    """Rows that are read from a stream as they are needed.

    Parameters
    ----------
    stream : Stream
    container : TableSchema
    sample : Rows
        A uniform sample of the rows.
    sample_index : ndarray of int
        Their numbers.
    facts : StreamFacts
        About all rows.
    held_out : RowSample
        Rows, of fields, on which weights are judged.
    seed : int
    digest : str
        Hash of the values of all rows.

    Attributes
    ----------
    in_memory : Rows
        The sample.
    labels : None
        Rows of a stream have no labels.
    """

    labels = None

    def __init__(self, stream, container, sample, sample_index, facts, held_out, seed, digest):
        self.stream, self.container, self.facts, self.digest = stream, container, facts, digest
        self.in_memory, self.sample_index = sample, sample_index
        self.seed, self._held_out = seed, held_out
        self.index, values = held_out.rows()
        self.judged = Rows.of(np.zeros((0, len(container.fields))) if values is None else values)

    @classmethod
    def first(cls, estimator, stream, schema, basis, seed, **options):
        """Read the stream of a first fit twice: for its schema, and for what depends on that.

        Parameters
        ----------
        estimator : GUDGenerator
            Its public parameters are read, and ``n_features_in_`` and ``feature_names_in_`` set.
        stream : Stream
        schema : Schema
        basis : Basis
        seed : int
        **options
            See `Schema.build`.
        """
        table, index = summarised(estimator, stream, _salted(seed, _SAMPLE))
        names = [column.name for column in table.columns]
        container = schema.build(table, names, **options)
        sample = Rows.of(container.read(table.sample))
        return cls._checked(estimator, stream, container, sample, index, basis, seed)

    @classmethod
    def _checked(cls, estimator, stream, container, sample, index, basis, seed):
        """Read all rows as fields, check them and choose those that are held out."""
        n = n_held_out(stream.n_rows, estimator.validation_fraction, False)
        held_out = RowSample(n, _salted(seed, _HELD_OUT))
        facts, digest = StreamFacts(container, basis), hashlib.sha256()
        for start, frame in read_ahead(stream.blocks(rows_per_block(stream.n_columns))):
            values = container.read(frame)
            facts.add(values, start)
            digest.update(np.ascontiguousarray(values).data)
            if container.constraints is not None:
                container.constraints.check(values, container, start)
            held_out.add(start, len(values), values)
        stream.complete(facts.n_rows)
        digest = digest.hexdigest()
        return cls(stream, container, sample, index, facts, held_out, seed, digest)

    def __len__(self):
        return self.stream.n_rows

    @property
    def n_train(self):
        """Number of rows that are not held out."""
        return len(self) - len(self.index)

    @property
    def per_epoch(self):
        """Number of rows of an epoch."""
        most = max(_MOST_ENTRIES // len(self.container.fields), _LEAST_ROWS)
        return min(ROWS_PER_EPOCH, most, self.n_train)

    def split(self):
        """Numbers of the held-out rows, the rows to train on, and the held-out `Rows`."""
        return self.index, self, self.judged

    def training_sample(self):
        """The rows of the sample that are not held out, as `Rows`."""
        kept = np.isin(self.sample_index, self.index, invert=True)
        return self.in_memory.take(np.flatnonzero(kept))

    def shuffled_blocks(self, first=0):
        """Yield blocks (n, F) of training rows in shuffled order, endlessly.

        Parameters
        ----------
        first : int
            Number of training rows that are left out, those that came first.
        """
        n_pass, left_out = divmod(first, self.n_train)
        while True:
            n, rng = 0, np.random.default_rng([_salted(self.seed, _ORDER), n_pass])
            for start, frame in self.stream.shuffled(ROWS_PER_BLOCK, rng):
                n_rows = n_rows_of(frame)
                n += n_rows
                kept = np.flatnonzero(~self._held_out.has(start, n_rows))
                n_trained = min(left_out, len(kept))
                left_out -= n_trained
                if n_trained < len(kept):
                    yield self.container.read(frame)[kept[n_trained:]]
            self.stream.complete(n)
            n_pass += 1


def _salted(seed, salt):
    """Another seed."""
    return int(mix(seed_keys(seed, 1), salt)[0]) & (2**63 - 1)


def with_all_gaps(rows):
    """`Rows` in which a value is missing in each column in which one is.

    Parameters
    ----------
    rows : Rows or StreamedRows
    """
    return rows if rows.facts is None else Rows.of(rows.facts.row_of_gaps())


def check_streamable(estimator, whole):
    """Raise if rows of a stream cannot be fitted with an estimator's parameters.

    Raises
    ------
    ValueError
    """
    if not whole:
        raise ValueError(
            "partial_fit takes rows in memory, but X is larger than memory. Call it with one block "
            "after another, or call fit."
        )
    if estimator.class_conditional:
        raise ValueError(
            "class_conditional=True needs labels in memory, but X is larger than memory. Put the "
            "labels into X as one more column, and sample with where= or given=."
        )
    devices = resolve("training", estimator.training).devices
    if devices > 1:
        raise ValueError(
            f"training__devices={devices} needs rows in memory, but X is larger than memory. Leave "
            "it out, or pass rows that fit into memory."
        )
    if estimator.shape is not None:
        raise ValueError(
            f"shape={estimator.shape} says that X holds images, but images are not read as a "
            "stream. Pass them as one array, or leave shape out."
        )
