"""Searches over parameters that learn from trial to trial, and end bad trials early."""

from gudlearn.search.optuna_search import OptunaSearchCV

__all__ = ["OptunaSearchCV"]
