"""States of `sample_trajectory` are those of the sampler."""

import copy

import numpy as np
import pytest

from gudlearn import (
    DDIM,
    DPMSolver,
    EulerMaruyama,
    Heun,
    IdentityBasis,
    PCABasis,
    SoftConditioningSchedule,
    UNet,
    WaveletBasis,
)
from gudlearn.diffusion.solvers import DDIMStep, integrate
from small import continuous, small


def untrained(basis, X, **parameters):
    """A product of Gaussians, whose posterior means have a closed form."""
    parameters = {"max_iter": 0, "sampler": DPMSolver(steps=16)} | parameters
    return small(basis=basis, preconditioning="gaussian", **parameters).fit(X)


def variances_and_gamma(generator, t):
    """Variances of the scaled components and gamma, from public attributes."""
    basis = generator.basis_
    variances = basis.component_variances_ / basis.scale_**2
    return variances, (np.log(variances) - generator.log_snr(t))[:, None]


@pytest.mark.parametrize("basis", [IdentityBasis(), IdentityBasis(whiten=0.5)], ids=repr)
def test_denoised_states_of_gaussian_data_are_posterior_means(basis):
    generator = untrained(basis, continuous() * [1, 10, 0.1])
    found = generator.sample_trajectory(5, 6, random_state=1)
    variances, gamma = variances_and_gamma(generator, found.t)
    signal = 1 / (1 + np.exp(gamma))
    x = found.components
    mean = signal**0.5 * variances * x / (signal * variances + 1 - signal)
    fitted = generator.basis_
    np.testing.assert_allclose(
        found.denoised, mean * fitted.scale_ + fitted.mean_, rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("whiten", [False, 0.5, True])
def test_first_noisy_state_has_the_variance_of_the_data_and_the_colour_of_the_basis(whiten):
    X = continuous(200) * [1, 10, 0.1]
    generator = untrained(IdentityBasis(whiten=whiten), X)
    first = generator.sample_trajectory(2000, 2, random_state=0).noisy[0]
    scale = X.std(0) ** float(whiten)
    expected = scale * np.sqrt(X.var(0).mean() / np.square(scale).mean())
    # The standard error of a standard deviation of 2000 rows is 1.6 %; five of them.
    np.testing.assert_allclose(first.std(0), expected, rtol=0.08)


@pytest.mark.parametrize(
    "sampler", [DPMSolver(steps=7), DDIM(steps=7, eta=1.0), Heun(steps=7), EulerMaruyama(steps=7)]
)
@pytest.mark.parametrize("n_states", [2, 5, 8])
def test_last_state_is_the_sample(sampler, n_states):
    X = continuous() * [1, 10, 0.1]
    generator = small(sampler=sampler, basis=PCABasis(whiten=False)).fit(X)
    found = generator.sample_trajectory(3, n_states, random_state=4)
    np.testing.assert_allclose(found.noisy[-1], generator.sample(3, random_state=4), rtol=1e-12)
    assert found.t[0] == 1
    assert found.t[-1] == 0
    assert (np.diff(found.t) < 0).all()
    assert len(found.t) == n_states


def test_more_rows_than_a_chunk_and_constant_columns():
    X = np.column_stack([continuous(), np.full(40, 7.0)])
    generator = untrained("pca", X, sampler=DDIM(steps=2))
    found = generator.sample_trajectory(300, 2)
    np.testing.assert_allclose(found.noisy[-1], generator.sample(300), rtol=1e-12)
    assert (found.noisy[..., 3] == 7).all()
    assert (found.denoised[..., 3] == 7).all()


@pytest.mark.parametrize("axes", [(4, 4), (4, 4, 3)])
def test_states_of_images_are_images_and_end_near_their_bins(axes):
    X = np.random.default_rng(0).integers(0, 64, size=(40, *axes)).astype(np.uint8)
    generator = small(network=UNet(width=8), basis=WaveletBasis(), max_iter=1).fit(X)
    found = generator.sample_trajectory(2, 3, random_state=5)
    assert found.noisy.shape == found.denoised.shape == (3, 2, *axes)
    assert found.noisy.dtype == np.float64
    assert found.components.shape == (3, 2, np.prod(axes))
    # The last state is the sample with noise of 0.35 bin widths.
    sample = generator.sample(2, random_state=5).astype(float)
    assert np.abs(found.noisy[-1].clip(0, 255) - sample).max() < 5 * 0.35


def test_labels_and_guidance_apply_to_the_states():
    X, y = continuous(), np.arange(40) % 2
    generator = small(class_conditional=True).fit(X, y)
    for arguments in ({"y": 1}, {"y": [0, 1], "guidance": 3.0}, {}):
        found = generator.sample_trajectory(2, 3, random_state=2, **arguments)
        expected = generator.sample(2, random_state=2, **arguments)
        np.testing.assert_allclose(found.noisy[-1], expected, rtol=1e-12)


def test_a_copy_uses_its_own_schedule():
    X = continuous() * [1, 10, 0.1]
    generator = small(basis=IdentityBasis(whiten=0.5)).fit(X)
    before, score = generator.sample_trajectory(2, 5), generator.score(X)
    other = copy.copy(generator)
    other.schedule_ = SoftConditioningSchedule(softness=0.2)
    found = other.sample_trajectory(2, 5)
    np.testing.assert_allclose(found.noisy[-1], other.sample(2), rtol=1e-12)
    whole = small(basis=IdentityBasis(whiten=0.5), schedule=other.schedule_, max_iter=0).fit(X)
    np.testing.assert_allclose(other.log_snr(found.t), whole.log_snr(found.t))
    assert np.abs(found.components - before.components)[1:-1].max() > 0.1
    # With a trained network the bound depends on the path. The original is not changed.
    assert other.score(X) != score
    assert generator.score(X) == score
    np.testing.assert_array_equal(generator.sample_trajectory(2, 5).noisy, before.noisy)


@pytest.mark.parametrize("n_states", [1, 6, 2.5, True])
def test_invalid_numbers_of_states_are_refused(n_states):
    generator = small(max_iter=0).fit(continuous())
    with pytest.raises(ValueError, match="n_states=.* whole number from 2 to 5.*more steps"):
        generator.sample_trajectory(n_states=n_states)


def test_constant_data_have_no_trajectory():
    generator = small(max_iter=0).fit(np.ones((10, 2)))
    with pytest.raises(ValueError, match="no component of the data varies"):
        generator.sample_trajectory()


def test_every_state_is_recorded_with_its_gamma():
    import torch

    times = torch.tensor([1.0, 0.5, 0.0])
    recorded = []

    def path(t):
        return t[:, None] * torch.ones(2)

    def record(k, x, gamma):
        recorded.append((k, x, gamma))

    start = torch.ones(3, 2)
    end = integrate(lambda x, gamma: 0 * x, path, start, times, DDIMStep(), record=record)
    assert [k for k, _, _ in recorded] == [0, 1, 2]
    assert recorded[0][1] is start
    assert recorded[2][1] is end
    for k, _, gamma in recorded:
        torch.testing.assert_close(gamma, path(times)[k][None])
