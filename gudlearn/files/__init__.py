"""Models in files: what is in one, how it is written, and what is refused when one is read."""
