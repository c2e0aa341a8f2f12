"""The contract of generative estimators: on estimators that keep it, and on planted faults."""

import os
import tempfile
from pathlib import Path

import pytest
from sklearn.exceptions import EstimatorCheckFailedWarning, SkipTestWarning
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity
from sklearn.preprocessing import StandardScaler

import gudlearn
from gudlearn import GenerativePipeline, GUDGenerator
from gudlearn.testing import bases as bases_contract
from gudlearn.testing import (
    check_generator,
    generator_checks,
    parametrize_with_generator_checks,
)
from gudlearn.testing import generators as contract
from gudlearn.testing import schedules as schedules_contract
from gudlearn.testing.adapters import FromGaussianMixture
from gudlearn.testing.case import global_states
from planted import FAULTS, Gaussian, JittersConstants, SamplesTooWide, ScoresTheSum
from small import small

# What the estimators of scikit-learn do not promise.
ARRAYS = {"check_frame_returned", "check_frame_values", "check_frame_columns"}
NO_FRAMES = ARRAYS | {"check_probabilities_of_categories"}


def statuses(results):
    """Names of the checks by status."""
    found = {}
    for result in results:
        found.setdefault(result["status"], set()).add(result["check_name"])
    return found


def every_result(estimator, **parameters):
    defaults = {"on_fail": None, "on_skip": None, "capabilities": {"prefix": True}}
    return check_generator(estimator, **{**defaults, **parameters})


@pytest.mark.parametrize(
    "estimator",
    [
        small(),
        small(basis="pca", schedule="soft", preconditioning="gaussian", max_iter=1),
        GenerativePipeline(
            [
                ("scale", StandardScaler()),
                ("generate", small(max_iter=1)),
            ]
        ),
    ],
    ids=["default", "pca", "pipeline"],
)
def test_ours_keep_the_contract(estimator):
    results = every_result(estimator)
    failures = [r for r in results if r["status"] not in ("passed", "skipped")]
    assert not failures, [(r["check_name"], r["exception"]) for r in failures]
    skipped = statuses(results).get("skipped", set())
    assert skipped == (set() if isinstance(estimator, GUDGenerator) else skipped & NO_FRAMES)


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 2])
def test_a_gaussian_in_closed_form_passes_every_check(seed):
    results = every_result(Gaussian(), random_state=seed)
    assert [r["exception"] for r in results] == [None] * len(contract.CHECKS)
    assert {r["status"] for r in results} == {"passed"}


@pytest.mark.filterwarnings("ignore:X has feature names")
@pytest.mark.parametrize(
    ("broken", "name", "related"), FAULTS, ids=[broken.__name__ for broken, *_ in FAULTS]
)
def test_a_planted_fault_is_caught_by_the_right_check(broken, name, related, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    results = every_result(broken())
    # Without seeds there are no prefixes to compare.
    unseeded = {"check_sample_prefix"} if name == "check_sample_seed" else set()
    assert statuses(results).get("skipped", set()) == unseeded
    failed = statuses(results)["failed"]
    assert name in failed and failed <= {name} | related
    # The message of a check, and not an accident inside of the estimator.
    (exception,) = [r["exception"] for r in results if r["check_name"] == name]
    assert type(exception) is AssertionError or broken.__name__ == "FitTakesNoLabels"


def test_every_check_catches_a_planted_fault():
    assert {name for _, name, _ in FAULTS} == {check.__name__ for check in contract.CHECKS}


def test_every_check_says_in_one_sentence_what_must_hold():
    for check in contract.CHECKS:
        sentence = " ".join(check.__doc__.split())
        assert sentence.endswith(".") and ". " not in sentence, check.__name__


def test_the_page_says_what_every_check_wants():
    page = (Path(gudlearn.__file__).parents[1] / "docs" / "contract.md").read_text(encoding="utf-8")
    for check in [*contract.CHECKS, *bases_contract.CHECKS, *schedules_contract.CHECKS]:
        sentence = " ".join(check.__doc__.split()).replace("|", r"\|")
        assert f"| `{check.__name__}` | {sentence} |" in page


def test_estimators_of_scikit_learn_differ_from_the_contract_where_they_say_so():
    mixture = statuses(every_result(FromGaussianMixture(GaussianMixture(2))))
    assert mixture["skipped"] == NO_FRAMES
    assert mixture["failed"] == {
        "check_sample_prefix", "check_sample_refuses", "check_constant_column", "check_array_dtype",
    }  # fmt: skip
    density = statuses(every_result(KernelDensity(bandwidth=0.3)))
    assert density["skipped"] == NO_FRAMES
    # Its score is a sum, and its bandwidth has a unit.
    assert density["failed"] == mixture["failed"] | {
        "check_score_is_a_mean", "check_cross_validation", "check_score_units",
    }  # fmt: skip


def test_samples_that_are_no_rows_are_named():
    results = every_result(GaussianMixture())
    (message,) = {
        str(r["exception"]) for r in results if r["check_name"].startswith("check_sample_s")
    }
    assert "sample must return rows" in message and "gudlearn.testing.adapters" in message


def test_samples_without_seeds_are_not_compared():
    (unseeded,) = [broken for broken, name, _ in FAULTS if name == "check_sample_seed"]
    density = {"density": False}
    found = statuses(every_result(unseeded(), capabilities=density))
    assert found["failed"] == {"check_sample_seed"}
    compared = {"check_fit_again", "check_pickle", "check_pipeline", "check_sample_prefix"}
    assert (
        found["skipped"] - statuses(every_result(Gaussian(), capabilities=density))["skipped"]
        == compared
    )


# Options


def test_a_failure_raises_warns_or_is_a_result():
    with pytest.raises(AssertionError, match="between 0.09"):
        check_generator(JittersConstants())
    with pytest.warns(EstimatorCheckFailedWarning, match="check_constant_column"):
        results = check_generator(JittersConstants(), on_fail="warn")
    assert statuses(results)["failed"] == {"check_constant_column"}


def test_an_expected_failure_is_no_failure():
    expected = {"check_constant_column": "noise is added on purpose"}
    results = check_generator(JittersConstants(), expected_failed_checks=expected)
    assert "failed" not in statuses(results)
    (result,) = [r for r in results if r["status"] == "xfail"]
    assert result["expected_to_fail"]
    assert result["expected_to_fail_reason"] == "noise is added on purpose"
    assert isinstance(result["exception"], AssertionError)


def test_prefixes_are_optional_until_they_are_promised():
    broken = dict((name, broken) for broken, name, _ in FAULTS)["check_sample_prefix"]
    assert statuses(check_generator(broken()))["xfail"] == {"check_sample_prefix"}
    with pytest.raises(AssertionError, match=r"sample\(30\)\[:11\] differs"):
        check_generator(broken(), capabilities={"prefix": True})


def test_what_is_not_offered_is_skipped_with_a_reason():
    with pytest.warns(SkipTestWarning, match="takes neither categories nor strings"):
        results = check_generator(Gaussian(), capabilities={"frames": False})
    assert statuses(results)["skipped"] == NO_FRAMES
    results = every_result(Gaussian(), capabilities={"density": False})
    skipped = [r for r in results if r["status"] == "skipped"]
    assert {str(r["exception"]) for r in skipped} == {"the estimator has no method score_samples"}
    assert "check_score_units" in {r["check_name"] for r in skipped}


def test_a_callback_hears_of_every_check():
    heard = []
    results = check_generator(
        ScoresTheSum(), on_fail=None, callback=lambda **result: heard.append(result)
    )
    assert heard == results and len(results) == len(contract.CHECKS)
    with pytest.raises(ValueError, match="callback needs on_fail"):
        check_generator(Gaussian(), callback=print)


@pytest.mark.parametrize(
    ("parameters", "error", "match"),
    [
        ({"on_fail": "stop"}, ValueError, "on_fail='stop' must be one of"),
        ({"on_skip": "raise"}, ValueError, "on_skip='raise' must be one of"),
        ({"callback": 3, "on_fail": None}, TypeError, "callback must be callable, got int"),
        ({"expected_failed_checks": ["a"]}, TypeError, "must be a dict from names"),
        ({"expected_failed_checks": {"a": "b"}}, ValueError, r"names \['a'\], which are no checks"),
        ({"capabilities": {"speed": True}}, ValueError, r"the names \['speed'\]"),
        ({"random_state": -1}, ValueError, "random_state=-1 must be from 0 to"),
        ({"random_state": None}, TypeError, "random_state=None must be an int"),
    ],
    ids=str,
)
def test_wrong_options_are_refused(parameters, error, match):
    with pytest.raises(error, match=match):
        check_generator(Gaussian(), **parameters)


def test_what_is_no_generative_estimator_is_refused():
    with pytest.raises(TypeError, match=r"Pass an instance, such as Gaussian\(\)"):
        check_generator(Gaussian)
    with pytest.raises(TypeError, match="StandardScaler has no method 'sample'"):
        check_generator(StandardScaler())


def test_nothing_outside_of_the_checks_changes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    estimator, before = Gaussian(), global_states()
    environment, folder = dict(os.environ), tempfile.gettempdir()
    check_generator(estimator)
    assert vars(estimator) == vars(Gaussian())
    assert not list(tmp_path.iterdir())
    assert global_states() == before
    assert (dict(os.environ), tempfile.gettempdir()) == (environment, folder)
    assert Path.cwd() == tmp_path


# In the tests of a third party


def expected(estimator):
    return {"check_constant_column": "jitter"} if isinstance(estimator, JittersConstants) else {}


@parametrize_with_generator_checks(
    [Gaussian(), JittersConstants()], expected_failed_checks=expected, capabilities={"prefix": True}
)
def test_the_decorator_runs_each_check_on_each_estimator(estimator, check):
    check(estimator)


def test_the_decorator_marks_expected_failures_and_refuses_unknown_ones():
    (mark,) = [
        parametrize_with_generator_checks([JittersConstants()], expected_failed_checks=expected)
    ]
    cases = mark.mark.args[1]
    marked = {case.id: [m.kwargs["reason"] for m in case.marks] for case in cases if case.marks}
    assert marked["JittersConstants()-check_constant_column"] == ["jitter"]
    assert "optional" in marked["JittersConstants()-check_sample_prefix"][0]
    assert len(marked) == 2 and len(cases) == len(contract.CHECKS)
    with pytest.raises(ValueError, match="which are no checks"):
        parametrize_with_generator_checks([Gaussian()], expected_failed_checks=lambda e: {"x": ""})


def test_checks_one_by_one_share_fits_and_take_other_estimators():
    class Counting(Gaussian):
        n_fits = 0

        def fit(self, X, y=None):
            Counting.n_fits += 1
            return super().fit(X)

    checks = {check.__name__: check for _, check in generator_checks(Counting())}
    estimator = next(generator_checks(Counting()))[0]
    assert list(checks) == [check.__name__ for check in contract.CHECKS]
    assert isinstance(estimator, Counting)
    subject = checks["check_n_features_in"].subject
    for name in ("check_n_features_in", "check_sample_seed", "check_score_rows"):
        checks[name](subject)
    assert Counting.n_fits == 1
    with pytest.raises(AssertionError, match="log-variance"):
        checks["check_sample_moments"](SamplesTooWide())
