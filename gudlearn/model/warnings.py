"""Warnings that point to the user's line of code."""

import sys
import warnings

# Packages whose frames may lie between the user's call and a warning.
_LIBRARIES = ("gudlearn.", "sklearn.", "joblib.")


def _level_of_the_caller():
    """The stack level, for `warnings.warn`, of the first frame outside these libraries."""
    frame, level = sys._getframe(1), 1
    while frame.f_back and frame.f_globals.get("__name__", "").startswith(_LIBRARIES):
        frame, level = frame.f_back, level + 1
    return level


def warn_user(message, category=UserWarning):
    """Warn at the line of the user's call.

    Parameters
    ----------
    message : str
    category : type of warning
    """
    warnings.warn(message, category, stacklevel=_level_of_the_caller())


def warn_never_partial(state, consequence):
    """Warn if the network was not trained on partially observed rows.

    Parameters
    ----------
    state : ModelState
    consequence : str
        Consequence, the end of the message.
    """
    if state.conditional_rate == 0:
        warn_user(
            "This model was fitted with conditional_rate=0: its network never saw rows of "
            f"which a part is given or missing, and {consequence}. Fit with "
            "conditional_rate=0.3."
        )
