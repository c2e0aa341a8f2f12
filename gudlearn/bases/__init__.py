"""Bases: orthonormal, complete changes of coordinates with a scale per component."""

from ._base import Basis, Components
from ._blocks import BlockBasis
from ._fourier import FourierBasis
from ._identity import IdentityBasis
from ._pca import PCABasis
from ._wavelet import WaveletBasis

__all__ = [
    "Basis",
    "BlockBasis",
    "Components",
    "FourierBasis",
    "IdentityBasis",
    "PCABasis",
    "WaveletBasis",
]
