"""The map between the values of one continuous column and its component."""

import numpy as np
import pandas as pd


class ColumnMap:
    """An increasing map from values of a column to its component, and back.

    Parameters
    ----------
    encoding : Encoding
        In which the column is a component by itself.
    column : int
    """

    def __init__(self, encoding, column):
        self._warp, self._column = None, column
        n = len(encoding.bins.width)
        if encoding.warp is not None and encoding.warp.columns[column]:
            self._warp = encoding.warp.restricted(np.arange(n) == column)
        component = int(np.flatnonzero(encoding.columns == column)[0])
        ends = np.zeros((2, n))
        ends[1, column] = 1.0
        ends = ends if encoding.names is None else pd.DataFrame(ends, columns=encoding.names)
        low, high = np.asarray(encoding.basis.transform(ends))[:, component]
        self._origin, self._slope, self._n = float(low), float(high - low), n

    def forward(self, values):
        """Components of values, and the log-slopes of the map; arrays of any one shape."""
        values = np.asarray(values, dtype=np.float64)
        mapped, log_slope = values, np.zeros(values.shape)
        if self._warp is not None:
            rows, log_slopes = self._warp.forward(self._rows(values))
            mapped = rows[:, self._column].reshape(values.shape)
            log_slope = log_slopes[:, self._column].reshape(values.shape)
        return self._origin + self._slope * mapped, log_slope + np.log(self._slope)

    def inverse(self, components):
        """Values of components, an array of any shape."""
        mapped = (np.asarray(components) - self._origin) / self._slope
        if self._warp is None:
            return mapped
        return self._warp.inverse(self._rows(mapped))[:, self._column].reshape(mapped.shape)

    def _rows(self, values):
        """Rows (n, F) with values in the column."""
        rows = np.zeros((values.size, self._n))
        rows[:, self._column] = values.ravel()
        return rows
