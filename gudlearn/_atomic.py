"""Leave an estimator unchanged when a fit fails."""

from contextlib import contextmanager


@contextmanager
def unchanged_on_error(estimator):
    """Restore an estimator's attributes if the block raises.

    Parameters
    ----------
    estimator : object
        What the block changes. ``KeyboardInterrupt`` restores it, too.
    """
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise
