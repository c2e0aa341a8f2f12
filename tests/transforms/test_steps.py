"""Steps of a pipeline whose output is a frame: determinants and samples are those of arrays."""

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.neighbors import KernelDensity
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)

from gudlearn import MarginalGaussianizer, PCABasis
from gudlearn.transforms.determinants import in_image, step_log_det
from gudlearn.transforms.inversion import draw_through

STEPS = [
    StandardScaler(),
    MinMaxScaler(),
    MaxAbsScaler(),
    RobustScaler(),
    PowerTransformer(),
    QuantileTransformer(n_quantiles=50),
    QuantileTransformer(n_quantiles=50, output_distribution="normal"),
    PCA(whiten=True),
    FunctionTransformer(),
    MarginalGaussianizer(),
    PCABasis(),
]


def rows(n=200):
    return np.random.default_rng(0).lognormal(size=(n, 3))


def in_frame(X, output):
    """Rows as a step with this kind of output leaves them."""
    scaler = StandardScaler(with_mean=False, with_std=False)
    return scaler.set_output(transform=output).fit_transform(X)


# Values of frames lie in another memory layout, and sums over them are rounded otherwise.


@pytest.mark.parametrize("output", ["pandas", "polars"])
@pytest.mark.parametrize("step", STEPS, ids=repr)
def test_determinants_of_frames_are_those_of_arrays(step, output):
    X = rows()
    Z = clone(step).fit_transform(X)
    plain, framed = clone(step).fit(X), clone(step).set_output(transform=output)
    X_framed = in_frame(X, output)
    Z_framed = framed.fit_transform(X_framed)
    assert type(Z_framed).__module__.startswith(output)
    found = step_log_det(framed, X_framed, Z_framed)
    np.testing.assert_allclose(found, step_log_det(plain, X, Z), rtol=1e-9, atol=1e-9)
    inside = in_image(framed, Z_framed)
    assert isinstance(inside, np.ndarray)
    np.testing.assert_array_equal(inside, in_image(plain, Z))


@pytest.mark.parametrize("output", ["pandas", "polars"])
@pytest.mark.parametrize("step", STEPS, ids=repr)
def test_samples_through_frames_are_those_through_arrays(step, output):
    def drawn(step):
        scaler = StandardScaler()
        Z = step.fit_transform(scaler.fit_transform(rows()))
        final = KernelDensity(bandwidth=0.1).fit(np.asarray(Z))
        return draw_through([("scaler", scaler), ("step", step), ("final", final)], 20, 0)

    expected = drawn(clone(step))
    with sklearn.config_context(transform_output=output):
        np.testing.assert_allclose(drawn(clone(step)), expected, rtol=1e-9, atol=1e-9)
