"""Data of the user as validated arrays, and results in the container of the data."""
