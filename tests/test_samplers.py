"""Specifications of samplers: what they build and what they refuse."""

import numpy as np
import pytest
from sklearn.base import clone

from gudlearn.diffusion.solvers import DDIMStep, DPMSolverStep, EulerMaruyamaStep, HeunStep
from gudlearn.samplers import DDIM, Ancestral, DPMSolver, EulerMaruyama, Heun

BUILT = [
    (DDIM(), DDIMStep(eta=0.0), 50),
    (DDIM(eta=1), DDIMStep(eta=1.0), 50),
    (Ancestral(), DDIMStep(eta=1.0), 500),
    (Heun(), HeunStep(), 25),
    (DPMSolver(), DPMSolverStep(), 20),
    (EulerMaruyama(), EulerMaruyamaStep(), 500),
]
every_kind = pytest.mark.parametrize("kind", [DDIM, Ancestral, Heun, DPMSolver, EulerMaruyama])


@pytest.mark.parametrize(("sampler", "step", "steps"), BUILT, ids=repr)
def test_a_sampler_builds_its_step(sampler, step, steps):
    assert sampler.build() == step
    assert sampler.steps == steps
    assert clone(sampler).get_params() == sampler.get_params()


@every_kind
def test_building_leaves_the_parameters_untouched(kind):
    sampler = kind(steps=np.int64(7))
    sampler.build()
    assert sampler.get_params()["steps"] is sampler.steps
    assert not [name for name in vars(sampler) if name.endswith("_")]


@every_kind
@pytest.mark.parametrize("steps", [0, -3])
def test_too_few_steps_are_refused(kind, steps):
    with pytest.raises(ValueError, match=f"steps={steps} must be at least 1"):
        kind(steps=steps).build()


@every_kind
@pytest.mark.parametrize("steps", [2.0, "20", None, True])
def test_steps_that_are_no_whole_number_are_refused(kind, steps):
    with pytest.raises(TypeError, match="must be a whole number"):
        kind(steps=steps).build()


@pytest.mark.parametrize("eta", [-0.1, 1.1, float("nan")])
def test_eta_outside_zero_and_one_is_refused(eta):
    with pytest.raises(ValueError, match="between 0 .* and 1"):
        DDIM(eta=eta).build()


@pytest.mark.parametrize("eta", ["1", None, True])
def test_eta_that_is_no_number_is_refused(eta):
    with pytest.raises(TypeError, match="eta=.* must be a number"):
        DDIM(eta=eta).build()
