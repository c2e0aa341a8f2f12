"""How a list of checks is run: results, expected failures, and marks of pytest."""

import warnings
from functools import update_wrapper
from unittest import SkipTest

from sklearn.exceptions import EstimatorCheckFailedWarning, SkipTestWarning

_ON_FAIL, _ON_SKIP = ("raise", "warn", None), ("warn", None)


def require(condition, message):
    """Raise an AssertionError with the message unless the condition holds."""
    if not condition:
        raise AssertionError(message)


def refused(call, kinds=(ValueError, TypeError)):
    """Return the exception with which a call is refused, or None if it is accepted.

    Parameters
    ----------
    call : callable without arguments
        What is to be refused.
    kinds : tuple of exception types, default=(ValueError, TypeError)
        Exceptions that count as a refusal; others are raised.
    """
    try:
        call()
    except kinds as refusal:
        return refusal
    return None


class Check:
    """One named check of one subject: a callable that returns nothing, or raises.

    Parameters
    ----------
    function : callable
        The check; its name is the name of the check, and its docstring says what must hold.
    make_case : callable
        Turns a subject into what the function takes.
    subject : object
        The subject whose case is shared.
    case : object
        Case of this subject, shared by all of its checks so that each fit is made once.
    """

    def __init__(self, function, make_case, subject, case):
        self.function = function
        self.make_case = make_case
        self.subject = subject
        self.case = case
        update_wrapper(self, function)

    def __call__(self, subject):
        """Run the check on a subject, which is the shared one or any other."""
        self.function(self.case if subject is self.subject else self.make_case(subject))


def bind(functions, make_case, subject):
    """Return a `Check` for each function, all with one case of the subject."""
    case = make_case(subject)
    return [Check(function, make_case, subject, case) for function in functions]


def check_options(checks, expected_failed_checks, on_fail, on_skip, callback):
    """Validate the options of `run_checks`."""
    if on_fail not in _ON_FAIL:
        raise ValueError(f"on_fail={on_fail!r} must be one of {_ON_FAIL}.")
    if on_skip not in _ON_SKIP:
        raise ValueError(f"on_skip={on_skip!r} must be one of {_ON_SKIP}.")
    if callback is not None and not callable(callback):
        raise TypeError(f"callback must be callable, got {type(callback).__name__}.")
    if callback is not None and on_fail == "raise":
        raise ValueError("callback needs on_fail='warn' or None: 'raise' ends at a failure.")
    check_expected(checks, expected_failed_checks)


def check_expected(checks, expected_failed_checks):
    """Raise if expected failures are no dict, or name a check that there is not."""
    if not isinstance(expected_failed_checks, dict | None):
        raise TypeError(
            "expected_failed_checks must be a dict from names of checks to reasons, got "
            f"{type(expected_failed_checks).__name__}."
        )
    unknown = set(expected_failed_checks or {}) - {check.__name__ for check in checks}
    if unknown:
        raise ValueError(
            f"expected_failed_checks names {sorted(unknown)}, which are no checks. The checks are "
            f"{[check.__name__ for check in checks]}."
        )


def run_checks(
    checks, subject, *, on_fail="raise", on_skip="warn", expected_failed_checks=None,
    optional=None, callback=None,
):  # fmt: skip
    """Run checks on a subject and return one result for each.

    Parameters
    ----------
    checks : list of Check
        From `bind`.
    subject : object
        What is checked.
    on_fail : {"raise", "warn"} or None, default="raise"
        What an unexpected failure does.
    on_skip : "warn" or None, default="warn"
        Whether a skipped check warns.
    expected_failed_checks : dict of str to str or None, default=None
        Reasons by the names of checks that may fail.
    optional : dict of str to str or None, default=None
        The same, for checks that no subject has to pass.
    callback : callable or None, default=None
        Called with the entries of each result as keywords.

    Returns
    -------
    results : list of dict
        With the keys of scikit-learn's ``check_estimator``: ``estimator``, ``check_name``,
        ``exception``, ``status`` ("passed", "failed", "xfail" or "skipped"),
        ``expected_to_fail`` and ``expected_to_fail_reason``.
    """
    check_options(checks, expected_failed_checks, on_fail, on_skip, callback)
    reasons = {**(optional or {}), **(expected_failed_checks or {})}
    results = []
    for check in checks:
        result = _run_one(check, subject, reasons.get(check.__name__), on_fail, on_skip)
        results.append(result)
        if callback is not None:
            callback(**result)
    return results


def _run_one(check, subject, reason, on_fail, on_skip):
    """Run one check and return its result."""
    expected = reason is not None
    status, exception = "passed", None
    try:
        check(subject)
    except SkipTest as skip:
        status, exception = "skipped", skip
    except Exception as failure:
        if on_fail == "raise" and not expected:
            raise
        status, exception = ("xfail" if expected else "failed"), failure
    result = {
        "estimator": subject,
        "check_name": check.__name__,
        "exception": exception,
        "status": status,
        "expected_to_fail": expected,
        "expected_to_fail_reason": reason or "Check is not expected to fail",
    }
    if status == "skipped" and on_skip == "warn":
        warnings.warn(
            f"Skipping {check.__name__} for {type(subject).__name__}: {exception}",
            SkipTestWarning, stacklevel=4,
        )  # fmt: skip
    if status == "failed" and on_fail == "warn":
        warnings.warn(EstimatorCheckFailedWarning(**result), stacklevel=4)
    return result


def parametrize(subjects, checks_of, expected_failed_checks, optional=None):
    """Return a decorator of pytest that runs a test on every subject and check.

    Parameters
    ----------
    subjects : list
        What is checked.
    checks_of : callable
        From a subject to its list of `Check`.
    expected_failed_checks : callable or None
        From a subject to a dict of reasons by names of checks that may fail.
    optional : dict of str to str or None, default=None
        Reasons of checks that no subject has to pass.
    """
    import pytest

    cases = []
    for subject in subjects:
        checks, label = checks_of(subject), " ".join(repr(subject).split())
        expected = expected_failed_checks(subject) if expected_failed_checks else {}
        check_expected(checks, expected)
        reasons = {**(optional or {}), **expected}
        for check in checks:
            name, marks = check.__name__, []
            if name in reasons:
                # An expected failure that passes is no error: it may depend on versions.
                marks = [pytest.mark.xfail(reason=reasons[name], strict=False)]
            cases.append(pytest.param(subject, check, id=f"{label}-{name}", marks=marks))
    return pytest.mark.parametrize(("estimator", "check"), cases)
