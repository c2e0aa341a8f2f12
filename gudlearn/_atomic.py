"""Leave an estimator unchanged when a fit fails, and calls unchanged by global settings."""

import functools
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from typing import ParamSpec, TypeVar

import numpy as np
import torch
from sklearn import config_context

P = ParamSpec("P")
R = TypeVar("R")


@contextmanager
def unchanged_on_error(estimator):
    """Restore an estimator's attributes if the block raises.

    Parameters
    ----------
    estimator : object
        Object that the block changes. ``KeyboardInterrupt`` restores it, too.
    """
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


def _isolation():
    """Context with defaults for the global settings that change arithmetic or outputs.

    These are NumPy's error handling, PyTorch's inference and no-grad modes, and scikit-learn's
    output containers. All of them belong to the thread.
    """
    stack = ExitStack()
    stack.enter_context(np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"))
    stack.enter_context(torch.inference_mode(False))
    stack.enter_context(torch.enable_grad())
    stack.enter_context(config_context(transform_output="default"))
    return stack


def isolated(method: Callable[P, R]) -> Callable[P, R]:
    """Let a public method run under default global settings; a decorator."""

    @functools.wraps(method)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with _isolation():
            return method(*args, **kwargs)

    return wrapper


def isolated_iterator(iterator):
    """Let every step of an iterator run under default global settings."""
    iterator = iter(iterator)
    while True:
        with _isolation():
            try:
                item = next(iterator)
            except StopIteration:
                return
        yield item
