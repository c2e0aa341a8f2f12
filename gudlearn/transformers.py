"""Column-wise transformers with a known determinant."""

from gudlearn.transforms.gaussianizer import MarginalGaussianizer

__all__ = ["MarginalGaussianizer"]
