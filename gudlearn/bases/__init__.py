"""Bases: orthonormal, complete changes of coordinates with a scale per component."""

from gudlearn.bases.base import Basis, Components
from gudlearn.bases.blocks import BlockBasis
from gudlearn.bases.fourier import FourierBasis
from gudlearn.bases.identity import IdentityBasis
from gudlearn.bases.pca import PCABasis
from gudlearn.bases.wavelet import WaveletBasis

__all__ = [
    "Basis",
    "BlockBasis",
    "Components",
    "FourierBasis",
    "IdentityBasis",
    "PCABasis",
    "WaveletBasis",
]
