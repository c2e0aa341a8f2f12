"""Joint Gaussians with indicators of classes, and the untrained model that they make."""

import copy

import numpy as np
import pytest
from scipy import stats

from gudlearn import DPMSolver
from gudlearn.model.sampling import Sampling
from gudlearn.preconditioning.fit_joint import fit_joint
from small import small

CENTRES = np.array([[0.0, 0.0, 0.0], [3.0, 0.0, 1.0], [0.0, -2.0, 2.0]])
WITHIN = np.array([[1.0, 0.6, 0.0], [0.6, 1.0, -0.4], [0.0, -0.4, 1.0]])


def classes(n, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.choice(3, n, p=[0.6, 0.3, 0.1])
    X = CENTRES[y] + rng.multivariate_normal(np.zeros(3), WITHIN, n)
    return X, np.array(["a", "b", "c"])[y]


def untrained_on(X, y=None, **parameters):
    sampler, conditional = DPMSolver(steps=12), y is not None
    return small(max_iter=0, sampler=sampler, class_conditional=conditional, **parameters).fit(X, y)


@pytest.fixture(scope="module")
def untrained_classes():
    return untrained_on(*classes(3000))


def test_the_untrained_model_of_classes_knows_their_means(untrained_classes):
    X, y = classes(300, seed=1)
    marginal = untrained_on(*classes(3000), preconditioning="marginal")
    exact = [stats.multivariate_normal(CENTRES["abc".index(c)], WITHIN).logpdf(x)
             for x, c in zip(X, y, strict=True)]  # fmt: skip
    found = untrained_classes.score_samples(X, y)
    assert np.mean(exact) - 0.25 < found.mean() < np.mean(exact) + 0.05
    assert found.mean() > marginal.score_samples(X, y).mean() + 0.7
    for k, label in enumerate("abc"):
        drawn = untrained_classes.sample(1500, y=label)
        # Marginals are those of all classes, which biases means and variances by up to 0.4; the
        # standard errors are 0.03 and 0.06. Without labels they would be off by 2.
        np.testing.assert_allclose(drawn.mean(0), CENTRES[k], atol=0.6)
        np.testing.assert_allclose(np.cov(drawn.T), WITHIN, atol=0.7)


class LabelRecorder:
    """A fitted model whose samples are their labels."""

    def agreed(self, seed):
        return seed

    def sample(self, n_samples, seed, sampler, labels, guidance):
        return labels


def test_classes_are_drawn_as_often_as_in_the_rows(untrained_classes):
    _, y = classes(3000)
    frequencies = np.unique(y, return_counts=True)[1] / 3000
    np.testing.assert_allclose(untrained_classes.class_prior_, frequencies)
    sampling = Sampling(untrained_classes.state_, LabelRecorder(), None, "auto")
    labels = sampling.draw(4000, y=None, guidance=1.0, random_state=0)
    np.testing.assert_allclose(np.bincount(labels) / 4000, frequencies, atol=0.05)


def test_without_a_label_the_untrained_model_is_that_of_all(untrained_classes):
    X, _ = classes(3000)
    partial = X[:100].copy()
    partial[:, 0] = np.nan
    draws = []
    for gen in (untrained_classes, untrained_on(X)):
        guided = copy.copy(gen).set_params(conditioning="posterior")
        draws.append(guided.sample(4, given=partial)[..., 0].mean(0))
    # Draws of the same noise, of means which vary by 1 between rows.
    difference = draws[1] - draws[0]
    assert np.std(draws[0]) > 0.5
    assert abs(difference.mean()) < 0.2 and difference.std() < 0.4


def test_labels_count_where_values_are_missing():
    X, y = classes(2000)
    X[np.random.default_rng(0).random(X.shape) < 0.3] = np.nan
    generator = untrained_on(X, y)
    for k, label in enumerate("abc"):
        np.testing.assert_allclose(generator.sample(1500, y=label).mean(0), CENTRES[k], atol=0.6)


@pytest.mark.parametrize("n_classes", [30, 400])
def test_many_small_classes_do_not_hide_correlations(n_classes):
    rng = np.random.default_rng(0)
    Z = rng.multivariate_normal(np.zeros(4), 0.1 * np.eye(4) + 0.9, 400)
    labels = rng.permutation(np.arange(400) % n_classes)
    mean, std, loadings = fit_joint(Z, labels=labels)
    # Too many of them are left out.
    assert len(mean) == (33 if n_classes == 30 else 4)
    assert ((loadings[:4] @ loadings[:4].T)[~np.eye(4, dtype=bool)] > 0.8).all()


def test_labels_without_effect_have_no_factors():
    rng = np.random.default_rng(0)
    Z, labels = rng.normal(size=(1000, 10)), rng.integers(0, 10, 1000)
    assert fit_joint(Z, labels=labels) is None
    Z[labels == 3] += 2.0
    assert fit_joint(Z, labels=labels) is not None


def test_guidance_acts_on_the_untrained_model(untrained_classes):
    plain = untrained_classes.sample(400, y="b", guidance=0.0)
    whole = classes(3000)[0].mean(0)
    np.testing.assert_allclose(plain.mean(0), whole, atol=0.6)
    own, far = (untrained_classes.sample(400, y="b", guidance=w).mean(0) for w in (1.0, 2.0))
    assert whole[0] + 1 < own[0] < far[0] - 0.2


def test_wide_images_have_classes():
    rng = np.random.default_rng(0)
    y = np.arange(4200) % 2
    X = np.zeros((4200, 33, 33))
    X[:, :2, :2] = rng.normal(size=(4200, 2, 2)) + 4 * y[:, None, None]
    generator = small(network="mlp", class_conditional=True, max_iter=0).fit(X, y)
    drawn = generator.sample(64, y=1)[:, :2, :2]
    assert abs(drawn.mean() - 4) < 0.5
