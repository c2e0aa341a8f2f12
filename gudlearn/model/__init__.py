"""A fitted model: its learned state, its scores and its samples."""
