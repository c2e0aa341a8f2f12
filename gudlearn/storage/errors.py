"""What is wrong with a file."""


class ModelFileError(ValueError):
    """A file that is not a model, is damaged, or holds what may not be loaded."""
