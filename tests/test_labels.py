"""Labels: models of classes, guidance, and classifiers."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.datasets import load_digits

from gudlearn import GUDClassifier, GUDGenerator
from gudlearn.nn.denoiser import Denoiser, LabelledDenoiser
from gudlearn.preconditioning.marginals import GaussianMarginals
from small import TINY, random_images, small, tiny


@pytest.fixture(scope="module")
def labelled():
    """A model of dark and light images, the images and their labels."""
    y = np.repeat(["dark", "light"], 50)
    noise = np.random.default_rng(0).integers(-20, 20, (100, 4, 4))
    X = (np.where(y == "dark", 60, 180)[:, None, None] + noise).astype(np.uint8)
    # Few held-out images may choose the untrained weights.
    return tiny(class_conditional=True, max_iter=150, validation_fraction=0).fit(X, y), X, y


def test_samples_have_their_labels(labelled):
    gen, _, _ = labelled
    assert gen.classes_.tolist() == ["dark", "light"]
    # The images of a class have means 60 and 180; those of samples, a standard deviation of 10.
    assert gen.sample(20, y="light").mean() > gen.sample(20, y="dark").mean() + 60
    both = gen.sample(4, y=["dark", "light", "dark", "light"])
    np.testing.assert_array_equal(gen.sample(2, y=["dark", "light"]), both[:2])
    # Five standard errors of a binomial number are 35.
    drawn = gen.sample(200).reshape(200, -1).mean(1) > 120
    assert 65 < drawn.sum() < 135


def test_scores_are_given_their_labels(labelled):
    gen, X, y = labelled
    right, wrong, none = (gen.score_samples(X, labels) for labels in (y, y[::-1], None))
    for better, worse in ((right, none), (none, wrong)):
        # The noise of one row is the same in all of its scores.
        gain = better - worse
        assert gain.mean() > 5 * gain.std(ddof=1) / np.sqrt(len(X))


def test_guidance_weighs_the_label(labelled):
    gen, _, _ = labelled
    light, dark = (
        [gen.sample(40, y=label, guidance=w).astype(float) for w in (0.0, 0.3, 1.0)]
        for label in ("light", "dark")
    )
    np.testing.assert_array_equal(light[0], dark[0])
    # 0, 50 and 110; over seeds the second has a standard deviation of 8.
    gaps = [(first - second).mean() for first, second in zip(light, dark, strict=True)]
    assert 10 < gaps[1] < gaps[2] - 15


def test_guidance_moves_the_correction_along_the_label():
    class Network(torch.nn.Module):
        def forward(self, inputs, gamma, labels):
            return labels[:, None].to(gamma.dtype).expand_as(gamma)

    denoiser = Denoiser(Network(), GaussianMarginals(torch.zeros(3), torch.ones(3)))
    x, gamma = torch.randn(4, 3), torch.zeros(4, 3)
    labels = torch.tensor([1, 2])
    found = [
        LabelledDenoiser(denoiser, labels, guidance=w, null=5).split(x, gamma)[1]
        for w in (0.0, 1.0, 3)
    ]
    torch.testing.assert_close(found[2], found[0] + 3 * (found[1] - found[0]))
    unlabelled = LabelledDenoiser(denoiser, labels * 0 + 5).split(x, gamma)[1]
    torch.testing.assert_close(found[0], unlabelled)


BAD_LABELS = {
    "none": (None, "requires y to be passed"),
    "missing": ([0.0, np.nan] * 5, "no label for 5 rows, the first of them row 1"),
    "few": ([0, 1], "y has 2 labels for 10 rows"),
    "continuous": (np.linspace(0, 1, 10), "continuous"),
}


@pytest.mark.parametrize("name", BAD_LABELS)
def test_labels_that_cannot_be_fitted(name):
    y, message = BAD_LABELS[name]
    with pytest.raises(ValueError, match=message):
        tiny(class_conditional=True).fit(random_images(10), y)


def test_labels_that_a_model_does_not_know_are_refused():
    gen = tiny(class_conditional=True, max_iter=1).fit(random_images(10), [0, 1] * 5)
    with pytest.raises(ValueError, match=r"y holds 7, but the classes that were fitted are \[0, 1"):
        gen.sample(2, y=7)
    with pytest.raises(ValueError, match="y has 3 labels for 2 rows"):
        gen.sample(2, y=[0, 1, 0])
    with pytest.raises(ValueError, match="guidance=-1"):
        gen.sample(2, guidance=-1)
    plain = tiny(max_iter=0).fit(random_images(10))
    for parameters in ({"guidance": 2.0}, {"y": 0}):
        with pytest.raises(ValueError, match="fitted without"):
            plain.sample(2, **parameters)


def test_labels_work_for_tables_too():
    X, y = load_digits(return_X_y=True)
    X, y = X[:100, 20:30], y[:100]
    gen = small(class_conditional=True, bin_width=1.0, max_iter=3).fit(X, y)
    # The difference is 6.9 nats, with a standard error of 0.02.
    assert gen.score(X[:50], y[:50]) > gen.score(X[:50], (y[:50] + 1) % 10) + 3


def test_a_classifier_knows_digits_by_their_densities():
    images, y = load_digits().images[:, ::2, ::2], load_digits().target
    images, y = images[y < 2], y[y < 2]
    settings = {"network": TINY, "max_iter": 20, "validation_fraction": 0}
    classifier = GUDClassifier(GUDGenerator(bin_width=1.0, **settings), random_state=0)
    classifier.fit(images[:200], y[:200])
    test = slice(200, 260)
    proba = classifier.predict_proba(images[test])
    np.testing.assert_allclose(proba.sum(1), 1)
    found = classifier.classes_[proba.argmax(1)]
    # 98 % of them over seeds; by chance it is one half, with a standard error of 6 %.
    assert (found == y[test]).mean() > 0.85
    assert (classifier.predict(images[200:210]) == found[:10]).all()
    assert classifier.generator_.random_state == 0


def to_polars(frame):
    return pl.DataFrame({name: frame[name].tolist() for name in frame})


@pytest.mark.parametrize("method", ["joint", "density"])
@pytest.mark.parametrize("to_frame", [pd.DataFrame, to_polars])
def test_a_classifier_takes_mixed_frames(to_frame, method):
    rng = np.random.default_rng(0)
    y = np.array(["no", "yes"])[rng.integers(0, 2, 300)]
    noisy = np.where(rng.random(300) < 0.15, np.roll(y, 1), y)
    frame = pd.DataFrame(
        {"kind": noisy, "flag": rng.random(300) < 0.5, "real": rng.normal(size=300)}
    )
    gen = small(max_iter=40)
    classifier = GUDClassifier(gen, method=method, random_state=0).fit(to_frame(frame), y)
    assert classifier.feature_names_in_.tolist() == ["kind", "flag", "real"]
    # The text tells the class of 92 % of the rows, with a standard error of 1.6 %.
    found = classifier.predict(to_frame(frame))
    assert (found == y).mean() > 0.84
    # Columns are taken by name.
    again = classifier.predict_proba(to_frame(frame[["real", "kind", "flag"]]))
    np.testing.assert_array_equal(again, classifier.predict_proba(to_frame(frame)))
    condition = {"where": {"y": ["yes"]}} if method == "joint" else {"y": "yes"}
    rows = classifier.generator_.sample(5, **condition)
    assert set(rows["kind"]) <= {"no", "yes"}


def test_priors_of_a_classifier():
    X, y = random_images(20, (4, 4, 1)), np.arange(20) % 2
    gen = tiny(max_iter=0)
    even = GUDClassifier(gen, priors=[0.9, 0.1]).fit(X, y)
    # An untrained model gives all classes the same density: the posterior is the prior.
    np.testing.assert_allclose(even.predict_proba(X), np.tile([0.9, 0.1], (20, 1)), atol=1e-6)
    # The default is the classes' frequencies.
    y = np.arange(20) % 4 == 0
    np.testing.assert_allclose(GUDClassifier(gen).fit(X, y).class_prior_, [0.75, 0.25])
    with pytest.raises(ValueError, match="one probability for each|Pass one probability"):
        GUDClassifier(gen, priors=[1.0]).fit(X, y)
    with pytest.raises(ValueError, match="positive and sum to 1"):
        GUDClassifier(gen, priors=[0.5, 0.6]).fit(X, y)
    with pytest.raises(ValueError, match="one class"):
        GUDClassifier(gen).fit(X, np.zeros(20))
    with pytest.raises(TypeError, match="has no classes"):
        from sklearn.neighbors import KernelDensity

        GUDClassifier(KernelDensity()).fit(X, y)
