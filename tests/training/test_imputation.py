"""Missing values of training rows, imputed by draws of what has been learned so far."""

import itertools

import numpy as np
import pytest
import torch

from gudlearn import DPMSolver, UNet
from gudlearn.data.rows import Rows
from gudlearn.training.fit import model_in_training
from gudlearn.training.imputation import Imputation
from gudlearn.training.options import make_trainer
from gudlearn.training.sources import rows_on_device
from gudlearn.training.trainer import LOSSES, Trainer
from gudlearn.training.validation import Validation, make_validation
from small import small

SLOPE = np.array([0.8, -0.6])


def gaussian_rows(n, seed=0):
    """Columns 0 and 1 are independent; column 2 is linear in both, with noise of 0.3."""
    X = np.random.default_rng(seed).normal(size=(n, 3))
    X[:, 2] = X[:, :2] @ SLOPE + 0.3 * X[:, 2]
    return X + [0.0, 5.0, -2.0]


def with_missing_values(X, fraction=0.3, seed=1):
    return np.where(np.random.default_rng(seed).random(X.shape) < fraction, np.nan, X)


class Completed(list):
    """Stands for rows on the device, and keeps what is imputed."""

    labels = None

    def impute(self, X):
        self.append(X)


def imputation_of(gen, X, source):
    """The Imputation of rows X by what an estimator has learned."""
    return Imputation(gen.fitted_model(), Rows.of(X), source, seed=0)


@pytest.fixture
def imputations(monkeypatch):
    """Whether values were imputed before each epoch, in a list that grows."""
    found, original = [], Imputation.__call__

    def call(self, *args):
        found.append(original(self, *args))
        return found[-1]

    monkeypatch.setattr(Imputation, "__call__", call)
    return found


def test_missing_values_are_drawn_given_the_observed_ones():
    X = gaussian_rows(4000)
    partial = with_missing_values(X)
    source = Completed()
    imputation_of(small(max_iter=0, conditional_rate=0.3).fit(partial), partial, source)(0.5, 20)
    (complete,) = source
    observed = ~np.isnan(partial)
    np.testing.assert_array_equal(complete[observed], partial[observed])
    assert np.isfinite(complete).all()
    # The untrained model of Gaussian rows is exact: where column 2 alone is missing it is drawn
    # from the regression on the others, with all of its noise.
    some = observed[:, 0] & observed[:, 1] & ~observed[:, 2]
    n, centred = some.sum(), complete[some] - [0.0, 5.0, -2.0]
    design = np.column_stack([centred[:, :2], np.ones(n)])
    found, (rest,), *_ = np.linalg.lstsq(design, centred[:, 2], rcond=None)
    # The 600 rows give coefficients a standard error of 0.012, and the noise one of 3 %.
    np.testing.assert_allclose(found, [*SLOPE, 0.0], atol=0.1)
    assert np.sqrt(rest / n) == pytest.approx(0.3, rel=0.25)


def test_imputed_values_depend_on_the_labels_of_rows():
    rng = np.random.default_rng(0)
    y = np.arange(600) // 2 % 2
    X = np.column_stack([rng.normal(size=600), 4.0 * y + 0.1 * rng.normal(size=600)])
    X[::3, 1] = np.nan
    gen = small(class_conditional=True, max_iter=0, conditional_rate=0.3).fit(X, y)
    source = Completed()
    source.labels = torch.from_numpy(y)
    imputation_of(gen, X, source)(0.5, 20)
    drawn = source[0][::3, 1]
    assert np.mean((drawn > 2) == (y[::3] == 1)) > 0.8


def test_imputation_waits_for_its_moments_and_for_epochs():
    X = with_missing_values(gaussian_rows(50))
    gen, source = small(max_iter=0, conditional_rate=0.3).fit(X), Completed()
    impute = imputation_of(gen, X, source)
    for spent, n_epochs, n_times in [
        (0.0, 0, 0), (0.31, 9, 0), (0.31, 10, 1), (0.45, 70, 1), (0.71, 75, 2), (0.86, 80, 2),
        (0.86, 85, 3), (0.9, 150, 3), (1.0, 300, 3),
    ]:  # fmt: skip
        assert impute.done == (len(source) == 3)
        before = len(source)
        assert impute(spent, n_epochs) == (n_times > before)
        assert len(source) == n_times, (spent, n_epochs)
    assert not np.array_equal(source[0], source[1])


def test_held_out_rows_are_imputed_and_scored_as_complete_rows():
    X = with_missing_values(gaussian_rows(300))
    gen = small(max_iter=0, conditional_rate=0.3).fit(X)
    rows, trainer = Rows.of(X), make_trainer(gen, gen.state_, len(X), 0)
    validation = make_validation(gen.fitted_model(), rows, 0)
    Imputation(gen.fitted_model(), rows, Completed(), 0, (rows, validation))(0.5, 20)
    complete = gen.basis_.mean_ + gen.basis_.scale_ * validation.x0.double().numpy()
    observed = ~np.isnan(X)
    np.testing.assert_allclose(complete[observed], X[observed], rtol=1e-5, atol=1e-5)
    of_complete = make_validation(gen.fitted_model(), Rows.of(complete), 0)
    assert torch.allclose(
        validation.scores(trainer), of_complete.scores(trainer), rtol=0, atol=1e-4
    )


@pytest.mark.parametrize("shape", [None, (2, 2)])
def test_sources_of_imputed_rows_return_them_and_their_missing_masks(shape):
    X = with_missing_values(gaussian_rows(40)[:, [0, 1, 2, 0]] + np.arange(4.0))
    network = {} if shape is None else {"network": UNet(width=8)}
    gen = small(max_iter=0, shape=shape, conditional_rate=0.3, **network).fit(X)
    trainer = make_trainer(gen, gen.state_, len(X), 0)
    source = rows_on_device(gen.state_, Rows.of(X), trainer, False)
    source.begin_epoch(0)
    index = torch.arange(40)
    before, _, missing, _, _ = source.take(index, torch.Generator().manual_seed(0))
    np.testing.assert_array_equal(missing, np.isnan(X))
    assert not source.imputed
    source.impute(np.where(np.isnan(X), 7.5, X))
    source.begin_epoch(1)
    after, _, missing_after, _, absent = source.take(index, torch.Generator().manual_seed(0))
    assert source.imputed and absent is None
    torch.testing.assert_close(missing_after, missing)
    torch.testing.assert_close(before[~missing], after[~missing])
    expected = (7.5 - gen.basis_.mean_) / gen.basis_.scale_
    expected = np.broadcast_to(expected, X.shape)[missing.numpy()]
    np.testing.assert_allclose(after[missing], expected, rtol=1e-5, atol=1e-5)


def test_imputed_values_are_scored_in_rows_without_observed_values_only(monkeypatch):
    X = with_missing_values(gaussian_rows(64))
    missing, paths = torch.from_numpy(np.isnan(X)), []

    def loss(denoise, path, x0, t, eps, bounded):
        paths.append(path)
        return torch.where(missing, 1e6, 1.0).expand_as(x0)

    monkeypatch.setitem(LOSSES, "likelihood", loss)
    gen = small(max_iter=0, conditional_rate=0.3).fit(X)
    trainer = make_trainer(gen, gen.state_, len(X), 0)
    source = rows_on_device(gen.state_, Rows.of(X), trainer, False)
    source.begin_epoch(0)
    batch = source.take(torch.arange(64), trainer.generator)
    for imputed in (False, True):
        _, _, terms, _ = trainer.batch_loss(batch, imputed)
        hidden, partial = missing & paths[-1].target, paths[-1].observed.any(1)
        # All imputed values of the seven tenths of the rows that are not masked are targets.
        assert hidden.sum() == 0 or hidden.sum() > missing.sum() / 2
        assert hidden.any() == imputed and partial.any()
        scored = hidden.any(1) & ~partial
        assert (terms[scored] > 1e5).all() and (terms[~scored] < 100).all()


def test_values_missing_at_random_hardly_shift_the_distribution():
    # Column 2 is mostly missing where column 0 is high: complete rows have another mean.
    X = gaussian_rows(1500)
    partial = X.copy()
    rng = np.random.default_rng(2)
    partial[rng.random(1500) < 1 / (1 + np.exp(-3 * X[:, 0])), 2] = np.nan
    complete = ~np.isnan(partial).any(1)
    assert abs(X[complete, 0].mean() - X[:, 0].mean()) > 0.5
    gen = small(
        max_iter=40, learning_rate_init=1e-2, preconditioning="marginal", sampler=DPMSolver(12)
    ).fit(partial)
    drawn = gen.sample(4000)
    # Without imputation the mean is 0.57 off and the variance 0.36. With it, they are 0.06 and
    # 0.03 off, and networks of other seeds differ by 0.02 and 0.03.
    assert abs(drawn[:, 0].mean() - X[:, 0].mean()) < 0.3
    assert abs(drawn[:, 0].var() - X[:, 0].var()) < 0.2


def test_a_fit_with_missing_values_asks_for_imputations(monkeypatch):
    calls = []

    def call(self, *args):
        calls.append(args)

    monkeypatch.setattr(Imputation, "__call__", call)
    X = with_missing_values(gaussian_rows(300))
    small(max_iter=4).fit(X)
    assert calls == [(k / 4, k) for k in range(4)]
    calls.clear()
    small(max_iter=4).fit(gaussian_rows(300))
    small(max_iter=4, conditional_rate=0.0).fit(X)
    assert not calls


@pytest.mark.parametrize("untrained", [0.0, 200.0])
def test_weights_from_before_the_last_imputation_are_not_kept(imputations, monkeypatch, untrained):
    falling = itertools.count(100.0, -1.0)

    def scores(self, trainer):
        # The weights of the last layer of an untrained network are zero.
        network = trainer.averaged.network.state_dict()
        score = next(falling) if all(w.any() for w in network.values()) else untrained
        return torch.tensor([score])

    monkeypatch.setattr(Validation, "scores", scores)
    gen = small(max_iter=50).fit(with_missing_values(gaussian_rows(60)))
    scores, epochs = np.array(gen.validation_scores_), np.array(gen.validation_iters_)
    last = np.flatnonzero(imputations)[-1]
    assert sum(imputations) > 1 and scores[epochs > last].max() < scores[1]
    # The untrained weights are scored again, and kept if they are better.
    assert gen.best_validation_score_ == max(untrained, scores[epochs > last].max())


def test_patience_waits_for_all_imputations(imputations):
    gen = small(
        max_iter=200, early_stopping=True, n_iter_no_change=1, tol=1.0, learning_rate_init=1e-6
    ).fit(with_missing_values(gaussian_rows(300)))
    assert sum(imputations) == 4
    assert 40 < gen.n_iter_ < 80


def test_sequential_components_are_imputed_by_draws_too():
    X = np.hstack([gaussian_rows(400), np.random.default_rng(3).normal(size=(400, 9))])
    X[::2, 2] = np.nan
    gen = small(max_iter=0, conditional_rate=0.3, schedule="sequential").fit(X)
    source = Completed()
    imputation_of(gen, X, source)(0.5, 20)
    residual = source[0][::2, 2] + 2 - (source[0][::2, :2] - [0, 5]) @ SLOPE
    # 200 draws have a standard error of 5 %.
    assert residual.std() == pytest.approx(0.3, rel=0.35)


def test_bins_beyond_float32_are_imputed():
    days = 20240101.0 + np.arange(300) % 31
    X = np.column_stack([days, np.random.default_rng(0).normal(size=300)])
    X[::3, 0] = np.nan
    gen = small(bin_width=[1.0, None], max_iter=0, conditional_rate=0.3).fit(X)
    source = Completed()
    fitted = model_in_training(gen.state_, make_trainer(gen, gen.state_, 300, 0))
    Imputation(fitted, Rows.of(X), source, seed=0)(0.5, 20)
    # A hundred draws hit 30 of 31 days, give or take one; float32 has 16 of them.
    assert len(np.unique(source[0][::3, 0])) > 20


def test_missing_values_are_mirrored_with_their_images():
    X = np.random.default_rng(0).normal(size=(50, 2, 4))
    X[:, 0, 0] = 1.0
    X[::2, 1, 3] = np.nan
    gen = small(network=UNet(width=8), random_flips=True, max_iter=0, basis="identity").fit(X)
    trainer = make_trainer(gen, gen.state_, 50, 0)
    source = rows_on_device(gen.state_, Rows.of(X.reshape(50, 8)), trainer, True)
    missing = source.take(torch.arange(50), torch.Generator().manual_seed(0)).missing
    encoding = gen.state_.encoding
    columns = encoding.columns[encoding.ends.active]
    pixels = [{int(columns[j]) for j in row.nonzero()[:, 0]} for row in missing]
    # Pixel 7 lies opposite pixel 4. Pixel 0 is constant, and no component.
    assert set(map(tuple, pixels[::2])) == {(7,), (4,)} and not any(pixels[1::2])


def test_an_error_after_an_imputation_leaves_good_weights(imputations, monkeypatch):
    step = Trainer.step

    def fail(self, *args):
        if any(imputations):
            raise FloatingPointError("spoilt")
        return step(self, *args)

    monkeypatch.setattr(Trainer, "step", fail)
    gen = small(max_iter=80, batch_size=64, learning_rate_init=1e-2, preconditioning="marginal")
    with pytest.raises(FloatingPointError, match="spoilt"):
        gen.fit(with_missing_values(gaussian_rows(1000)))
    assert gen.best_validation_score_ == max(gen.validation_scores_) > gen.validation_scores_[0]
