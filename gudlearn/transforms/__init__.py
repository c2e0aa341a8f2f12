"""Determinants and inverses of transformers."""
