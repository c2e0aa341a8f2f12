"""Specifications by name, and their nested parameters."""

import copy

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.preprocessing import MaxAbsScaler

from gudlearn import (
    DDIM,
    MLP,
    DPMSolver,
    GUDGenerator,
    IdentityBasis,
    LinearSchedule,
    PCABasis,
    SoftConditioningSchedule,
    Training,
    VPSchedule,
)
from gudlearn._specs import SPECS, resolve
from small import small

NAMES = [(parameter, name) for parameter, known in SPECS.items() for name in known]


@pytest.mark.parametrize(("parameter", "name"), NAMES)
def test_a_name_is_resolved_to_its_specification(parameter, name):
    spec = resolve(parameter, name)
    assert type(spec) is SPECS[parameter][name]
    assert resolve(parameter, name) is not spec


@pytest.mark.parametrize(
    ("parameter", "kind"),
    [
        ("basis", IdentityBasis),
        ("schedule", LinearSchedule),
        ("network", MLP),
        ("sampler", DPMSolver),
    ],
)
def test_auto_means_the_documented_specification(parameter, kind):
    assert type(resolve(parameter, "auto")) is kind


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"checkpoint": 3}, TypeError, "checkpoint=3 must be None or the path"),
        ({"checkpoint_interval": 0}, ValueError, "checkpoint_interval=0 must be a positive number"),
        ({"checkpoint_interval": "1"}, ValueError, "checkpoint_interval='1' must be a positive"),
        ({"schedule_family": "soft"}, TypeError, "schedule_family='soft' must be a dict of param"),
        ({"schedule_family": []}, TypeError, r"schedule_family=\[\] must be a dict of parameters"),
        ({"schedule_family": [0.1, 1]}, TypeError, r"schedule_family=\[0.1, 1\] must be a dict"),
        ({"schedule_family": {"softness": 0.1}}, TypeError, r"\['softness'\]=0.1 must be a range"),
        ({"schedule_family": {"softness": []}}, TypeError, r"\['softness'\]=\[\] must be a range"),
        ({"schedule_family": {"softness": (1, 0.1)}}, ValueError, r"\(1, 0.1\) must be a range"),
        ({"schedule_family": {"softness": (-1, 1)}}, ValueError, "with 0 <= low < high"),
        ({"schedule_family": {"softness": (1.0, np.nan)}}, ValueError, "with 0 <= low < high"),
    ],
)
def test_bad_parameters_of_training_are_refused_before_any_work(parameters, error, message):
    gen = small(training=Training(**parameters))
    with pytest.raises(error, match=message):
        gen.fit(np.zeros((0, 2)))


def test_a_specification_is_cloned():
    basis = PCABasis(whiten=0.5)
    resolved = resolve("basis", basis)
    assert resolved is not basis
    assert resolved.get_params() == basis.get_params()


@pytest.mark.parametrize("schedule", ["auto", "soft"])
def test_a_nested_softness_turns_a_name_into_a_soft_schedule(schedule):
    gen = GUDGenerator(schedule=schedule).set_params(schedule__softness=0.3)
    assert isinstance(gen.schedule, SoftConditioningSchedule)
    assert gen.schedule.softness == 0.3
    assert clone(gen).get_params()["schedule__softness"] == 0.3


def test_a_nested_parameter_turns_a_name_into_a_basis():
    gen = GUDGenerator(basis="pca").set_params(basis__whiten=0.5)
    assert isinstance(gen.basis, PCABasis)
    assert gen.basis.whiten == 0.5


@pytest.mark.parametrize(
    "params",
    [
        {"schedule__softness": 0.3, "schedule": "soft"},
        {"schedule": "soft", "schedule__softness": 0.3},
        {"schedule__softness": 0.3, "schedule": SoftConditioningSchedule()},
    ],
    ids=lambda p: ",".join(p),
)
def test_the_order_of_keys_in_one_call_does_not_matter(params):
    gen = GUDGenerator(schedule=LinearSchedule()).set_params(**params)
    assert gen.schedule.softness == 0.3


def test_nested_parameters_of_an_instance_are_set_in_place():
    schedule = SoftConditioningSchedule()
    gen = GUDGenerator(schedule=schedule).set_params(schedule__softness=2.0, max_iter=3)
    assert gen.schedule is schedule
    assert (schedule.softness, gen.max_iter) == (2.0, 3)


def test_names_stay_if_nothing_nested_is_set():
    gen = GUDGenerator().set_params(max_iter=1)
    assert (gen.basis, gen.schedule, gen.network, gen.sampler) == ("auto",) * 4
    assert "schedule__softness" not in gen.get_params()


def test_network_and_sampler_take_nested_parameters_too():
    gen = GUDGenerator().set_params(network__width=8, sampler__steps=7)
    assert gen.get_params()["network__width"] == 8
    assert gen.get_params()["sampler__steps"] == 7


@pytest.mark.parametrize(
    ("parameter", "typo", "meant"),
    [
        ("schedule", "sof", "soft"),
        ("schedule", "liner", "linear"),
        ("schedule", "cosin", "cosine"),
        ("basis", "pcaa", "pca"),
        ("network", "mpl", "mlp"),
        ("sampler", "dpm-solvr", "dpm-solver"),
    ],
)
def test_the_nearest_name_is_suggested_for_a_misspelt_one(parameter, typo, meant):
    with pytest.raises(ValueError, match=f"{parameter}='{typo}' .* Did you mean '{meant}'"):
        resolve(parameter, typo)


def test_all_names_are_listed_for_an_unknown_one():
    with pytest.raises(ValueError, match="Known names: 'auto', 'linear', 'cosine'") as error:
        resolve("schedule", "zzz")
    assert "Did you mean" not in str(error.value)


def test_a_misspelt_name_is_refused_when_nested_parameters_are_set():
    with pytest.raises(ValueError, match="Did you mean 'linear'"):
        GUDGenerator(schedule="liner").set_params(schedule__softness=0.3)


@pytest.mark.parametrize(
    ("gen", "params", "message"),
    [
        (GUDGenerator(), {"basis__shape": (8, 8)}, "IdentityBasis.*Pass basis=FourierBasis"),
        (GUDGenerator(basis="pca"), {"basis__shape": (8, 8)}, "basis='pca' means PCABasis"),
        (GUDGenerator(basis=PCABasis()), {"basis__shape": (8, 8)}, "basis is PCABasis"),
        (
            GUDGenerator(schedule="linear"),
            {"schedule__softness": 0.3},
            r"schedule='linear' means LinearSchedule.*Pass schedule=SoftConditioningSchedule",
        ),
        (GUDGenerator(schedule=VPSchedule()), {"schedule__softness": 0.3}, "'b_max', 'b_min'"),
        (GUDGenerator(), {"schedule__softnes": 0.3}, "Did you mean 'softness'"),
        (GUDGenerator(sampler=DDIM()), {"sampler__etta": 1.0}, "Did you mean 'eta'"),
    ],
    ids=repr,
)
def test_a_parameter_that_the_specification_lacks_is_refused(gen, params, message):
    with pytest.raises(ValueError, match=message):
        gen.set_params(**params)


def test_a_refused_nested_parameter_leaves_the_name_in_place():
    gen = GUDGenerator(schedule="linear")
    with pytest.raises(ValueError, match="softness"):
        gen.set_params(schedule__softness=0.3)
    assert gen.schedule == "linear"


def test_nested_parameters_of_a_callable_are_refused():
    with pytest.raises(ValueError, match="network__width.*has no parameters"):
        GUDGenerator(network=lambda n_components, n_channels: None).set_params(network__width=8)


@pytest.mark.parametrize("parameter", ["nonsense", "nonsense__width"])
def test_unknown_parameters_are_refused_by_scikit_learn(parameter):
    with pytest.raises(ValueError, match="Invalid parameter 'nonsense'"):
        GUDGenerator().set_params(**{parameter: 1})


@pytest.mark.parametrize(
    ("parameter", "value", "cure"),
    [
        ("basis", PCABasis, "such as IdentityBasis"),
        ("schedule", LinearSchedule, "such as LinearSchedule"),
        ("network", MLP, "such as MLP"),
        ("sampler", DPMSolver, "such as DPMSolver"),
    ],
)
def test_a_class_is_not_a_specification(parameter, value, cure):
    with pytest.raises(TypeError, match=f"{parameter}=.*instance.*{cure}"):
        resolve(parameter, value)


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("schedule", DPMSolver()),
        ("schedule", MLP()),
        ("schedule", PCABasis()),
        ("sampler", LinearSchedule()),
        ("sampler", MLP()),
        ("network", LinearSchedule()),
        ("network", DPMSolver()),
        ("basis", LinearSchedule()),
        ("basis", MaxAbsScaler()),
        ("network", 3),
    ],
    ids=repr,
)
def test_a_specification_of_another_kind_is_refused(parameter, value):
    with pytest.raises(TypeError, match=f"{parameter}="):
        resolve(parameter, value)


class CustomSchedule:
    """A schedule that is no scikit-learn estimator."""

    def build(self, components, end_points):
        return LinearSchedule().build(components, end_points)


def test_any_object_with_the_methods_is_a_specification():
    X = np.random.default_rng(0).normal(size=(10, 2))
    gen = GUDGenerator(schedule=CustomSchedule(), max_iter=0, random_state=0).fit(X)
    reference = GUDGenerator(max_iter=0, random_state=0).fit(X)
    np.testing.assert_allclose(gen.score(X), reference.score(X))


@pytest.mark.parametrize(
    "schedule", [CustomSchedule(), SoftConditioningSchedule()], ids=["custom", "soft"]
)
def test_times_are_uniform_unless_their_density_was_measured_under_the_schedule(schedule):
    X = np.random.default_rng(0).normal(size=(10, 2))
    # Without validation the weights are those of the last epoch: not the first, which are zero.
    gen = small(schedule=schedule, validation_fraction=0).fit(X)
    before, measured, fitted = gen.score(X), gen.state_.time_weights, gen.schedule_
    assert np.ptp(measured.under(fitted).weights) > 0
    # Equality of schedules is not defined in general: another object counts as another schedule.
    gen.schedule_ = copy.deepcopy(fitted)
    assert np.ptp(measured.under(gen.schedule_).weights) == 0
    assert gen.score(X) != before
    gen.schedule_ = fitted
    assert gen.score(X) == before
    if hasattr(fitted, "set_params"):
        fitted.set_params(softness=0.3)
        assert np.ptp(measured.under(fitted).weights) == 0
