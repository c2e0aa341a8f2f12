"""The contract of generative estimators."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Literal

from gudlearn._typing import RandomState
from gudlearn.testing import densities, interface, samples
from gudlearn.testing.case import Case
from gudlearn.testing.running import bind, parametrize, run_checks

#: The checks, in the order in which they run.
CHECKS = [*interface.CHECKS, *samples.CHECKS, *densities.CHECKS]
#: Checks that an estimator passes only if it promises so, by its capability.
OPTIONAL = {
    "check_sample_prefix": "optional: nobody has promised that shorter samples are prefixes"
}


def generator_checks(
    estimator: Any, *, capabilities: Iterable[str] | None = None, random_state: RandomState = 0,
):  # fmt: skip
    """Yield every check of the contract of generative estimators, bound to an estimator.

    Parameters
    ----------
    estimator : estimator
        An instance with ``fit(X)`` and ``sample(n_samples)``.
    capabilities : dict of str to bool or None, default=None
        As in `check_generator`.
    random_state : int, default=0
        As in `check_generator`.

    Yields
    ------
    estimator : estimator
        The same at every time.
    check : callable
        Takes the estimator, and raises if it does not keep the contract. Checks of one estimator
        share its fits.

    See Also
    --------
    check_generator : Runs them all.
    """
    make = partial(Case, random_state=random_state, capabilities=capabilities)
    for check in bind(CHECKS, make, estimator):
        yield estimator, check


def check_generator(
    estimator: Any, *, capabilities: Iterable[str] | None = None,
    expected_failed_checks: Mapping[str, str] | Callable[[Any], Mapping[str, str]] | None = None,
    on_skip: Literal["warn"] | None = "warn", on_fail: Literal["raise", "warn"] | None = "raise",
    callback: Callable[..., Any] | None = None, random_state: RandomState = 0,
) -> list[dict[str, Any]]:  # fmt: skip
    """Check whether an estimator keeps the contract of generative estimators.

    The contract is what one can rely on without knowing the model: seeds, containers and dtypes,
    scores that are log-densities in the units of the data, and nothing done behind one's back. It
    does not say how good a model is. Each check is explained on the page about the contract.

    Parameters
    ----------
    estimator : estimator
        An instance with ``fit(X)`` and ``sample(n_samples)``, which takes ``random_state`` or has
        it as a parameter of the estimator, and optionally ``score_samples(X)`` and ``score(X)``.
        It is cloned, and not fitted itself.
    capabilities : dict of str to bool or None, default=None
        What the estimator offers, where that is not what its methods and tags say: "density",
        "frames", "missing" and "prefix". What is not offered is not checked. Nothing says "prefix":
        without it, `check_sample_prefix` may fail.
    expected_failed_checks : dict of str to str or None, default=None
        Names of checks that may fail, and why.
    on_skip : "warn" or None, default="warn"
        Whether a check that is skipped warns with ``SkipTestWarning``.
    on_fail : {"raise", "warn"} or None, default="raise"
        "raise" ends at the first unexpected failure with its exception; "warn" warns with
        ``EstimatorCheckFailedWarning``; None does neither, and the results tell.
    callback : callable or None, default=None
        Called after each check with the entries of its result as keywords; not with
        ``on_fail="raise"``.
    random_state : int, default=0
        Seed of the data, of fits (where the estimator's own is None) and of samples. The contract
        holds with every seed.

    Returns
    -------
    results : list of dict
        One for each check, with the keys of scikit-learn's ``check_estimator``: ``estimator``,
        ``check_name``, ``exception``, ``status`` ("passed", "failed", "xfail" or "skipped"),
        ``expected_to_fail`` and ``expected_to_fail_reason``.

    Raises
    ------
    AssertionError
        If a check fails and ``on_fail="raise"``. What the estimator itself raises goes through.
    TypeError
        If the estimator is a class, or has no ``fit`` or ``sample``.

    See Also
    --------
    parametrize_with_generator_checks : The checks as tests of pytest.

    Examples
    --------
    >>> from sklearn.neighbors import KernelDensity
    >>> from gudlearn.testing import check_generator
    >>> results = check_generator(KernelDensity(bandwidth=0.3), on_fail=None, on_skip=None)
    >>> [r["check_name"] for r in results if r["status"] == "failed"][-2:]
    ['check_score_is_a_mean', 'check_score_units']
    """
    make = partial(Case, random_state=random_state, capabilities=capabilities)
    return run_checks(
        bind(CHECKS, make, estimator), estimator, on_fail=on_fail, on_skip=on_skip,
        expected_failed_checks=expected_failed_checks, callback=callback,
        optional=_optional(capabilities),
    )  # fmt: skip


def _optional(capabilities):
    return {} if (capabilities or {}).get("prefix") else OPTIONAL


def parametrize_with_generator_checks(
    estimators: Iterable[Any], *, capabilities: Iterable[str] | None = None,
    expected_failed_checks: Mapping[str, str] | Callable[[Any], Mapping[str, str]] | None = None,
    random_state: RandomState = 0,
):  # fmt: skip
    """Decorate a test of pytest so that it runs for every estimator and every check.

    Parameters
    ----------
    estimators : list of estimators
        Instances, see `check_generator`.
    capabilities : dict of str to bool or None, default=None
        As in `check_generator`, for all of them.
    expected_failed_checks : callable or None, default=None
        From an estimator to a dict of reasons by names of checks that may fail.
    random_state : int, default=0
        As in `check_generator`.

    Returns
    -------
    decorator : ``pytest.mark.parametrize``
        Of a test with the arguments ``estimator`` and ``check``.

    Examples
    --------
    >>> from gudlearn import GUDGenerator
    >>> from gudlearn.testing import parametrize_with_generator_checks
    >>> @parametrize_with_generator_checks([GUDGenerator(max_iter=2, random_state=0)])
    ... def test_contract(estimator, check):
    ...     check(estimator)
    """
    make = partial(Case, random_state=random_state, capabilities=capabilities)
    return parametrize(
        estimators, lambda estimator: bind(CHECKS, make, estimator), expected_failed_checks,
        _optional(capabilities),
    )  # fmt: skip
