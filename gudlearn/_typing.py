"""Types of public parameters and results: for checkers such as mypy, not at runtime."""

import os
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.integer[Any]]
# Rows in the container that was fitted: an array, images, or a frame of pandas, polars or pyarrow.
Rows: TypeAlias = Any
RandomState: TypeAlias = int | np.random.RandomState | None
Auto: TypeAlias = Literal["auto"]


class _Dataset(Protocol):
    """Rows by index, such as `torch.utils.data.Dataset`."""

    def __getitem__(self, index: Any, /) -> Any: ...


# What a generator is fitted to: arrays and frames, files and folders, iterables of frames.
Data: TypeAlias = ArrayLike | os.PathLike[str] | Iterable[Any] | _Dataset
# Known values: a dict or a Series for one row, a frame or an array with NaN for several.
Given: TypeAlias = Mapping[Any, Any] | ArrayLike
Columns: TypeAlias = Iterable[int] | Iterable[str] | str | int
FeatureType: TypeAlias = Literal[
    "continuous", "whole", "decimal", "ordered", "category", "datetime", "duration"
]
