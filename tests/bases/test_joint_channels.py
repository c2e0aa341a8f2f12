"""Channels that are rotated jointly before each is transformed."""

import numpy as np
import pytest

from gudlearn.bases import FourierBasis, WaveletBasis

SHAPED = [FourierBasis, WaveletBasis]
every_kind = pytest.mark.parametrize("kind", SHAPED)


def colours(n_samples=40, n_positions=6, seed=0):
    """Flattened images of correlated channels; each column has a different mean."""
    rng = np.random.default_rng(seed)
    mixing = np.array([[3.0, -2.0, 3.0], [1.0, 2.0, -1.0], [0.1, 0.2, 0.3]])
    images = rng.normal(size=(n_samples, n_positions, 3)) @ mixing
    return (images + 10 * rng.normal(size=(n_positions, 3))).reshape(n_samples, -1)


@every_kind
def test_axes_are_the_principal_axes_of_the_channels(kind):
    X = colours()
    basis = kind(shape=(2, 3), channels=3, joint_channels=True).fit(X)
    pixels = (X - X.mean(axis=0)).reshape(-1, 3)
    eigenvalues, eigenvectors = np.linalg.eigh(np.cov(pixels, rowvar=False))
    axes = basis.channel_axes_
    np.testing.assert_allclose(np.abs(axes @ eigenvectors[:, ::-1]), np.eye(3), atol=1e-12)
    assert np.all(axes[np.arange(3), np.abs(axes).argmax(axis=1)] > 0)
    # The mean variance of the modes of a channel is its eigenvalue.
    variances = basis.component_variances_.reshape(-1, 3).mean(axis=0)
    np.testing.assert_allclose(variances, eigenvalues[::-1] * 239 / 240, rtol=1e-10)


@every_kind
def test_components_are_those_of_the_rotated_channels(kind):
    X = colours()
    joint = kind(shape=(2, 3), channels=3, joint_channels=True).fit(X)
    mixed = (X.reshape(-1, 3) @ joint.channel_axes_.T).reshape(X.shape)
    apart = kind(shape=(2, 3), channels=3).fit(mixed)
    np.testing.assert_allclose(joint.transform(X), apart.transform(mixed), atol=1e-11)
    np.testing.assert_array_equal(apart.channel_axes_, np.eye(3))
    for name in ("order", "names", "groups"):
        ours, theirs = getattr(joint.describe(), name), getattr(apart.describe(), name)
        np.testing.assert_array_equal(ours, theirs)


@every_kind
def test_separate_channels_are_transformed_alike(kind):
    X = colours()
    for channel in range(3):
        columns = slice(channel, None, 3)
        alone = kind(shape=(2, 3)).fit_transform(X[:, columns])
        together = kind(shape=(2, 3), channels=3).fit_transform(X)
        np.testing.assert_allclose(together[:, columns], alone, atol=1e-12)


@every_kind
def test_grey_images_have_one_varying_channel(kind):
    X = np.repeat(colours()[:, ::3], 3, axis=1) + np.tile([0.0, 7.0, 1e3], 6)
    basis = kind(shape=(2, 3), channels=3, joint_channels=True).fit(X)
    np.testing.assert_allclose(basis.channel_axes_[0], np.sqrt(1 / 3))
    assert basis.dead_.reshape(-1, 3).tolist() == [[False, True, True]] * 6
    np.testing.assert_allclose(basis.inverse_transform(basis.transform(X)), X, rtol=1e-12)


@every_kind
@pytest.mark.parametrize("channels", [None, 1])
def test_one_channel_cannot_be_joint(kind, channels):
    basis = kind(channels=channels, joint_channels=True)
    message = f"joint_channels=True rotates two or more channels, but channels={channels}. Pass"
    with pytest.raises(ValueError, match=message):
        basis.fit(colours())
    assert not hasattr(basis, "mean_")


@every_kind
def test_joint_channels_must_be_a_bool(kind):
    with pytest.raises(ValueError, match=f"The 'joint_channels' parameter of {kind.__name__}"):
        kind(channels=3, joint_channels="yes").fit(colours())
