"""What is passed to a fitted estimator as `Rows` and masks, and results in the container of X."""

import numpy as np
import pandas as pd

from gudlearn._random import row_keys
from gudlearn.data.columns import as_mask, column_names, masks_of_groups
from gudlearn.data.draws import with_rows
from gudlearn.data.first_pass import rows_per_block
from gudlearn.data.given import as_given, index_of
from gudlearn.data.labels import label_indices, no_labels
from gudlearn.data.reading import read_more
from gudlearn.data.row_blocks import in_blocks_of
from gudlearn.data.rows import Rows
from gudlearn.data.streams import Stream, opened
from gudlearn.data.where import Where

# Blocks of a stream are multiples of this many rows, so that the chunks in which rows are scored
# are those of all rows together, and the rounding of every score as well.
_CHUNKS = 256


class UserData:
    """Reads the data that are passed to a fitted estimator, and puts results into its container.

    Parameters
    ----------
    estimator : fitted GUDGenerator
    state : ModelState
    """

    def __init__(self, estimator, state):
        self.estimator, self.state, self.container = estimator, state, state.container

    # In

    def blocks(self, X, y=None):
        """Yield new data as `Rows`: all of them, or block by block if they are a stream.

        Raises
        ------
        ValueError
            If labels are passed with a stream.
        """
        X = opened(X)
        if not isinstance(X, Stream):
            yield self.rows(X, y)
            return
        if y is not None:
            raise ValueError(
                "y= holds labels in memory, but X is larger than memory. Pass blocks of X with "
                "their labels."
            )
        size = rows_per_block(X.n_columns)
        frames = (frame for _, frame in X.blocks(size))
        for frame in in_blocks_of(frames, size - size % _CHUNKS):
            yield self.rows(frame)

    def rows(self, X, y=None):
        """New data as `Rows`; a class-conditional model without y gets null labels."""
        X = opened(X)
        if isinstance(X, Stream):
            raise ValueError(
                "X is larger than memory: fit, score and score_samples read it block by block, "
                "this method does not. Pass one block of it after another."
            )
        rows = Rows.of(read_more(self.estimator, X, self.container))
        classes = self.state.classes
        self.state.encoding.bins.check(rows.values)
        if classes is None:
            return rows
        if y is None:
            return rows.with_labels(no_labels(len(rows), self.state.n_classes))
        return rows.with_labels(label_indices(y, len(rows), classes.labels))

    def partial(self, given):
        """Partially observed rows as `Rows` of float64."""
        if self.state.has_images:
            if isinstance(given, dict | pd.Series):
                raise TypeError(
                    f"given is a {type(given).__name__}, but X holds images. Pass images with NaN "
                    "where pixels are to be drawn."
                )
            return Rows.of(read_more(self.estimator, given, self.container).astype(np.float64))
        table = as_given(given, self.container)
        values = read_more(self.estimator, table, self.container, partial=True, unseen="raise")
        return Rows.of(values.astype(np.float64))

    def excluded_keys(self, rows, reference):
        """Keys of the reference rows to exclude: of `Rows`, or of the data they correspond to."""
        if reference is None:
            return rows.keys
        return row_keys(read_more(self.estimator, reference, self.container))

    def mask(self, parameter, columns):
        """The columns that a parameter names as a mask (F,) of the columns of `Rows`, or None."""
        if columns is None:
            return None
        names = column_names(self.estimator)
        return self._of_fields(as_mask(parameter, columns, names, self._mask_shape))

    def groups(self, groups):
        """Groups of columns as masks (n_groups, F) of the columns of `Rows`."""
        names = column_names(self.estimator)
        return self._of_fields(masks_of_groups(groups, names, self._mask_shape))

    def _of_fields(self, mask):
        return mask if self.state.has_images else self.container.field_mask(mask)

    @property
    def _mask_shape(self):
        """Shape of a mask of columns: that of one sample, or of one image if rows are flat."""
        shape = self.container.sample_shape
        return self.container.shape if self.state.has_images and len(shape) == 1 else shape

    def where(self, where):
        """Conditions on columns as a `Where`, or None."""
        if where is None:
            return None
        if self.state.has_images:
            raise ValueError("where= names columns of a table, but X holds images. Pass given=.")
        return Where(where, self.container)

    def check_return_y(self, return_y, y, *conditions):
        """Raise if labels are asked for and not known.

        Raises
        ------
        ValueError
        """
        if not return_y:
            return
        if self.state.classes is None:
            raise ValueError(
                "return_y=True needs a model of labels, but this one was fitted without. Fit with "
                "class_conditional=True and y."
            )
        if y is None and any(condition is not None for condition in conditions):
            raise ValueError(
                "return_y=True: where a part is observed no class is drawn. Pass y, or leave out "
                "given= and observation=."
            )

    # Out

    def labels(self, labels):
        """Labels of class indices."""
        return self.state.classes.labels[labels]

    def drawn(self, draws, given=None):
        """Draws (n_samples, n_rows, F) or (n_rows, F) in the shape and container of the data."""
        flat = self.state.restore(draws.reshape(-1, draws.shape[-1]))
        first = range(len(draws)) if draws.ndim == 3 and len(draws) > 1 else None
        return with_rows(flat, first, index_of(given), "draw")
