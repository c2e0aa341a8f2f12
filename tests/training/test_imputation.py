"""Holes in rows of training, filled by draws of what has been learned so far."""

import numpy as np
import pytest
import torch

from gudlearn import GUDGenerator, UNet
from gudlearn.data.rows import Rows
from gudlearn.training.fit import model_in_training
from gudlearn.training.imputation import Imputation
from gudlearn.training.options import make_trainer
from gudlearn.training.sources import rows_on_device
from gudlearn.training.trainer import Trainer
from small import small

SLOPE = np.array([0.8, -0.6])


def gaussian_rows(n, seed=0):
    """Columns 0 and 1 are independent, and column 2 is a line of both with noise of 0.3."""
    X = np.random.default_rng(seed).normal(size=(n, 3))
    X[:, 2] = X[:, :2] @ SLOPE + 0.3 * X[:, 2]
    return X + [0.0, 5.0, -2.0]


def with_holes(X, share=0.3, seed=1):
    return np.where(np.random.default_rng(seed).random(X.shape) < share, np.nan, X)


class ObservedDenoiser(list):
    """Stands for rows on the device, and keeps what fills them."""

    labels = None

    def impute(self, X):
        self.append(X)


def filling_of(gen, X, told):
    """The Imputation of rows X by what a fitted estimator has learned."""
    return Imputation(gen.fitted_model(), Rows.of(X), told, seed=0)


def test_holes_are_filled_by_draws_given_the_rest():
    X = gaussian_rows(4000)
    partial = with_holes(X)
    gen = small(max_iter=0, conditional_rate=0.3).fit(partial)
    told = ObservedDenoiser()
    assert filling_of(gen, partial, told)(0.5, 20)
    (filled,) = told
    known = ~np.isnan(partial)
    np.testing.assert_array_equal(filled[known], partial[known])
    assert np.isfinite(filled).all()
    # The untrained model of Gaussian rows is exact: rows that lack column 2 alone have it by the
    # line, with all of its noise.
    some = known[:, 0] & known[:, 1] & ~known[:, 2]
    design = np.column_stack([filled[some, :2], np.ones(some.sum())])
    found, (rest,), *_ = np.linalg.lstsq(design, filled[some, 2], rcond=None)
    np.testing.assert_allclose(found, [*SLOPE, -2 - 5 * SLOPE[1]], atol=0.12)
    assert np.sqrt(rest / some.sum()) == pytest.approx(0.3, rel=0.1)


def test_labels_go_with_their_rows():
    rng = np.random.default_rng(0)
    y = np.arange(600) // 2 % 2
    X = np.column_stack([rng.normal(size=600), 4.0 * y + 0.1 * rng.normal(size=600)])
    X[::3, 1] = np.nan
    gen = small(
        class_conditional=True, max_iter=60, conditional_rate=0.3, preconditioning="gaussian"
    ).fit(X, y)
    told = ObservedDenoiser()
    told.labels = torch.from_numpy(y)
    filling_of(gen, X, told)(0.5, 20)
    drawn = told[0][::3, 1]
    assert np.mean((drawn > 2) == (y[::3] == 1)) > 0.8


def test_it_waits_for_its_moments_and_for_passes():
    X = with_holes(gaussian_rows(50))
    gen = small(max_iter=0, conditional_rate=0.3).fit(X)
    told = ObservedDenoiser()
    fill = filling_of(gen, X, told)
    for spent, n_passes, times in [
        (0.0, 0, 0), (0.31, 9, 0), (0.31, 10, 1), (0.45, 70, 1), (0.71, 75, 2), (0.86, 80, 2),
        (0.86, 85, 3), (0.9, 150, 3), (1.0, 300, 3),
    ]:  # fmt: skip
        assert fill.done == (len(told) == 3)
        before = len(told)
        assert fill(spent, n_passes) == (times > before)
        assert len(told) == times, (spent, n_passes)
    assert not np.array_equal(told[0], told[1])


@pytest.mark.parametrize("shape", [None, (2, 2)])
def test_filled_rows_are_seen_whole(shape):
    X = with_holes(gaussian_rows(40)[:, [0, 1, 2, 0]] + np.arange(4.0))
    network = {} if shape is None else {"network": UNet(width=8)}
    gen = small(max_iter=0, shape=shape, conditional_rate=0.3, **network).fit(X)
    data = rows_on_device(gen.state_, Rows.of(X), make_trainer(gen, gen.state_, len(X), 0), False)
    data.begin_epoch(0)
    everything = torch.arange(40)
    before, _, missing, _ = data.take(everything, torch.Generator().manual_seed(0))
    np.testing.assert_array_equal(missing, np.isnan(X))
    assert not data.imputed
    data.impute(np.where(np.isnan(X), 7.5, X))
    data.begin_epoch(1)
    after, _, still, _ = data.take(everything, torch.Generator().manual_seed(0))
    assert data.imputed
    torch.testing.assert_close(still, missing)
    torch.testing.assert_close(before[~missing], after[~missing])
    expected = (7.5 - gen.basis_.mean_) / gen.basis_.scale_
    expected = np.broadcast_to(expected, X.shape)[missing.numpy()]
    np.testing.assert_allclose(after[missing], expected, rtol=1e-5, atol=1e-5)


def test_what_was_filled_in_is_shown_and_not_learned():
    X = with_holes(gaussian_rows(64))
    gen = small(max_iter=0, conditional_rate=0.3).fit(X)
    trainer = make_trainer(gen, gen.state_, len(X), 0)
    data = rows_on_device(gen.state_, Rows.of(X), trainer, False)
    data.begin_epoch(0)
    batch = data.take(torch.arange(64), trainer.generator)
    seen, missing, count = [], batch.missing, np.isnan(X).sum(0)

    def loss(denoise, path, x0, t, eps):
        seen.append(path.target)
        return torch.where(missing, 1e6, 1.0).expand_as(x0)

    trainer._loss = loss
    for filled in (False, True):
        _, mean, terms, _ = trainer.batch_loss(batch, filled)
        assert float(mean) < 10 and float(terms.max()) < 100
    kept, shown = ((missing & wanted).sum(0).numpy() for wanted in seen)
    assert (kept == 0).all() and (shown > count / 2).all()


def test_values_missing_at_random_hardly_shift_the_law():
    # Column 2 is mostly hidden where column 0 is high: whole rows have another mean.
    X = gaussian_rows(3000)
    partial = X.copy()
    rng = np.random.default_rng(2)
    partial[rng.random(3000) < 1 / (1 + np.exp(-3 * X[:, 0])), 2] = np.nan
    gen = GUDGenerator(max_iter=60, random_state=0).fit(partial)
    whole = ~np.isnan(partial).any(1)
    assert abs(X[whole, 0].mean() - X[:, 0].mean()) > 0.5
    # From rows with holes alone 0.5 off, the variance by 0.4.
    drawn = gen.sample(4000)
    assert abs(drawn[:, 0].mean() - X[:, 0].mean()) < 0.25
    assert abs(drawn[:, 0].var() - X[:, 0].var()) < 0.15


def test_a_fit_with_holes_fills_them(monkeypatch):
    calls = []

    def call(self, *args):
        calls.append(args)

    monkeypatch.setattr(Imputation, "__call__", call)
    X = with_holes(gaussian_rows(300))
    small(max_iter=4).fit(X)
    assert calls == [(k / 4, k) for k in range(4)]
    calls.clear()
    small(max_iter=4).fit(gaussian_rows(300))
    small(max_iter=4, conditional_rate=0.0).fit(X)
    assert not calls


def test_weights_of_before_rows_were_filled_are_not_kept():
    X = with_holes(gaussian_rows(300))
    gen = small(max_iter=50, validation_fraction=0.3).fit(X)
    scores, passes = np.array(gen.validation_scores_), np.array(gen.validation_iters_)
    assert gen.best_validation_score_ == scores[(passes > 43) | (passes == 0)].max()


def test_patience_fills_rows_before_it_ends():
    X = with_holes(gaussian_rows(300))
    filled = []
    original = Imputation.__call__

    def call(self, *args):
        filled.append(original(self, *args))
        return filled[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Imputation, "__call__", call)
        gen = small(
            max_iter=200, early_stopping=True, n_iter_no_change=1, tol=1.0, learning_rate_init=1e-6
        ).fit(X)
    assert sum(filled) == 4
    assert 40 < gen.n_iter_ < 80


def test_components_in_turn_are_filled_by_draws_too():
    X = np.hstack([gaussian_rows(400), np.random.default_rng(3).normal(size=(400, 9))])
    X[::2, 2] = np.nan
    told, gen = ObservedDenoiser(), small(max_iter=0, conditional_rate=0.3, schedule="sequential").fit(X)
    filling_of(gen, X, told)(0.5, 20)
    off = told[0][::2, 2] + 2 - (told[0][::2, :2] - [0, 5]) @ SLOPE
    assert off.std() == pytest.approx(0.3, rel=0.25)


def test_levels_beyond_float32_are_filled():
    days = 20240101.0 + np.arange(300) % 31
    X = np.column_stack([days, np.random.default_rng(0).normal(size=300)])
    X[::3, 0] = np.nan
    gen = small(bin_width=[1.0, None], max_iter=0, conditional_rate=0.3).fit(X)
    told = ObservedDenoiser()
    fitted = model_in_training(gen.state_, make_trainer(gen, gen.state_, 300, 0))
    Imputation(fitted, Rows.of(X), told, seed=0)(0.5, 20)
    assert len(np.unique(told[0][::3, 0])) > 25


def test_flipped_images_keep_their_holes_beside_a_constant_pixel():
    X = np.random.default_rng(0).normal(size=(50, 2, 4))
    X[:, 0, 0] = 1.0
    X[::2, 1, 3] = np.nan
    gen = small(network=UNet(width=8), random_flips=True, max_iter=0, basis="identity").fit(X)
    data = rows_on_device(
        gen.state_, Rows.of(X.reshape(50, 8)), make_trainer(gen, gen.state_, 50, 0), True
    )
    missing = data.take(torch.arange(50), torch.Generator().manual_seed(0)).missing
    columns = gen.state_.encoding.columns[gen.state_.encoding.ends.active]
    places = [{int(columns[j]) for j in row.nonzero()[:, 0]} for row in missing]
    # Pixel 7 lies opposite pixel 4.
    assert set(map(tuple, places[::2])) == {(7,), (4,)} and not any(places[1::2])


def test_an_error_after_rows_were_filled_keeps_good_weights(monkeypatch):
    X = gaussian_rows(2000)
    X[:, 2] = X[:, 0] ** 2
    filled = []
    original, step = Imputation.__call__, Trainer.step

    def call(self, *args):
        filled.append(original(self, *args))
        return filled[-1]

    def fail(self, *args):
        if any(filled):
            raise FloatingPointError("spoilt")
        return step(self, *args)

    monkeypatch.setattr(Imputation, "__call__", call)
    monkeypatch.setattr(Trainer, "step", fail)
    gen = small(max_iter=200)
    with pytest.raises(FloatingPointError, match="spoilt"):
        gen.fit(with_holes(X))
    assert gen.best_validation_score_ == max(gen.validation_scores_) > gen.validation_scores_[0]
