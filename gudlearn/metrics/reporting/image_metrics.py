"""The metrics of a report of images, and of rows, by a callable of features."""

import numpy as np
from sklearn.decomposition import PCA

from gudlearn.metrics.distances import embedded, frechet_distance, kernel_distance
from gudlearn.metrics.neighbours import memorization, neighbourhoods
from gudlearn.metrics.reporting.errors import Estimate, parts_error, share_error
from gudlearn.metrics.reporting.likelihood import LIKELIHOOD
from gudlearn.metrics.reporting.metrics import AS_HELD_OUT, Metric
from gudlearn.metrics.reporting.samples import FAKE
from gudlearn.metrics.reporting.vectors import MOST_DISTANCES, energy_distance
from gudlearn.metrics.two_sample import two_sample_auc

# Features that trees see: the first principal components of the training rows.
_MOST_COMPONENTS = 32


def image_metrics(model):
    """Metrics of features, in the order of a report."""
    chosen = [
        Metric("two_sample_auc", "Two-sample AUC", "low", "0.5", 0.25,
               "How well trees tell the images from held-out ones, by the first 32 principal "
               "components of the features.", _auc),
        Metric("frechet_distance", "Fréchet distance", "low", AS_HELD_OUT, None,
               "Distance between normal distributions of the features; for Inception's the FID.",
               _frechet, ".4g"),
        Metric("kernel_distance", "Kernel distance", "low", "0", None,
               "Squared maximum mean discrepancy of the features; for Inception's the KID.",
               _kernel, ".4g"),
        Metric("energy_distance", "Energy distance", "low", "0", None,
               "Distance between the distributions of the features, between 0 and 1.", _energy,
               ".4f"),
        Metric("precision", "Precision", "high", AS_HELD_OUT, 0.3,
               "Fraction of the images near a held-out image.", _precision),
        Metric("coverage", "Coverage", "high", AS_HELD_OUT, 0.3,
               "Fraction of the held-out images with one of the images near it.", _covered),
        Metric("log_likelihood", *LIKELIHOOD),
        Metric("memorization", "Memorized", "low", AS_HELD_OUT, 0.05,
               "Fraction of the images that are three times closer to one training image than to "
               "the next.", _memorized),
    ]  # fmt: skip
    return [m for m in chosen if model is not None or m.key != "log_likelihood"]


def _features(context, name):
    """Features (n, d) of a sample; of the reference for None, of training rows for 'train'."""

    def make():
        samples = context.samples
        X = {None: samples.reference, "train": samples.train}.get(name)
        X = samples.judged[name] if X is None else X[: max(samples.n, 2 * MOST_DISTANCES)]
        return embedded(context.options["features"], 2, **{_SHOWN.get(name, name): X})[0]

    return context.once(("features", name), make)


_SHOWN = {None: "test"}


def _auc(context, name):
    def fit():
        X = _features(context, "train")
        n_components = min(_MOST_COMPONENTS, *X.shape)
        return PCA(n_components, svd_solver="full").fit(X)

    pca = context.once("pca", fit)
    found = two_sample_auc(
        pca.transform(_features(context, None)), pca.transform(_features(context, name)),
        importance=name == FAKE, max_rows=None, random_state=context.seed,
    )  # fmt: skip
    return Estimate(found.auc, found.standard_error)


def _distance(context, name, distance):
    real, fake = _features(context, None), _features(context, name)
    error = parts_error(lambda a, b: distance(real[a], fake[b]), len(real), len(fake), 10)
    return Estimate(distance(real, fake), error)


def _frechet(context, name):
    return _distance(context, name, frechet_distance)


def _kernel(context, name):
    return _distance(context, name, kernel_distance)


def _energy(context, name):
    return energy_distance(_features(context, None), _features(context, name))


def _neighbourhoods(context, name):
    rows = slice(MOST_DISTANCES)
    return context.once(
        ("neighbourhoods", name),
        lambda: neighbourhoods(_features(context, None)[rows], _features(context, name)[rows]),
    )


def _precision(context, name):
    share = _neighbourhoods(context, name).precision
    return Estimate(share, share_error(share, min(context.samples.n, MOST_DISTANCES)))


def _covered(context, name):
    share = _neighbourhoods(context, name).coverage
    return Estimate(share, share_error(share, min(context.samples.n, MOST_DISTANCES)))


def _memorized(context, name):
    found = memorization(
        _features(context, "train"), _features(context, None), _features(context, name)
    )
    return Estimate(found.share, share_error(found.share, len(found.ratios)), found.ratios)


def nearest_training_rows(context, n_shown):
    """Places of the fake rows with the smallest ratios, and of the training rows next to them.

    Parameters
    ----------
    context : Context
    n_shown : int

    Returns
    -------
    fake, train : ndarray of int of shape (n_shown,)
    """
    ratios = _memorized(context, FAKE).detail
    fake = np.argsort(ratios, kind="stable")[:n_shown]
    rows, train = _features(context, FAKE)[fake], _features(context, "train")
    distances = np.square(rows).sum(1)[:, None] - 2 * rows @ train.T + np.square(train).sum(1)
    return fake, np.argmin(distances, axis=1)
