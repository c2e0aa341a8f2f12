"""A fitted model: what was learned, and what it computes."""
