"""Why a command ends."""


class CommandError(Exception):
    """A command that cannot go on; its text is all that the user sees.

    Parameters
    ----------
    message : str
    """
