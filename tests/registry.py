"""One list per kind of object; every contract test is parametrised over it."""

from gudlearn.bases import BlockBasis, FourierBasis, IdentityBasis, PCABasis, WaveletBasis

# Every one of these works for any number of columns.
BASES = [
    IdentityBasis(),
    IdentityBasis(whiten=False),
    PCABasis(),
    PCABasis(whiten=0.5),
    FourierBasis(),
    FourierBasis(whiten=False),
    WaveletBasis(),
    WaveletBasis(whiten=0.5),
    BlockBasis(),
]
