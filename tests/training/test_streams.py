"""Fits to tables that are read block by block, and samples and scores in blocks."""

import threading
from itertools import islice
from types import SimpleNamespace

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from interrupted import Killed, assert_equal, killed_before
from torch.utils.data import TensorDataset

import gudlearn
from gudlearn import BlockBasis, IdentityBasis, PCABasis, Schema, Training
from gudlearn.data import first_pass, streams, summaries
from gudlearn.model import user_data
from gudlearn.training import fit, loop, streamed_rows
from gudlearn.training.stream_source import StreamSource
from small import continuous, few_draws, random_images, small, tiny, whole
from streams import Frames, Items, as_memmap, mixed_rows


@pytest.fixture
def small_buffers(monkeypatch):
    """Stream small tables, with a sample, blocks and epochs of few rows."""
    monkeypatch.setattr(streams, "MOST_IN_MEMORY", 100)
    monkeypatch.setattr(first_pass, "MOST_SAMPLED", 1000)
    monkeypatch.setattr(first_pass, "_ROWS", 512)
    monkeypatch.setattr(summaries, "MOST_DISTINCT", 200)
    monkeypatch.setattr(streamed_rows, "ROWS_PER_EPOCH", 600)
    monkeypatch.setattr(streamed_rows, "ROWS_PER_BLOCK", 100)


def test_a_small_stream_is_fitted_as_rows_in_memory(tmp_path, monkeypatch):
    few_draws(monkeypatch)
    X = continuous(80).astype(np.float32)
    frame = mixed_rows(80)[["normal", "shop"]]
    pairs = [
        (as_memmap(X, tmp_path / "x.dat"), X), (TensorDataset(torch.from_numpy(X)), X),
        (Frames(frame, (50, 9)), frame), (Frames(pl.from_pandas(frame)), pl.from_pandas(frame)),
    ]  # fmt: skip
    for stream, rows in pairs:
        one, other = small().fit(stream), small().fit(rows)
        for name, weights in one.weights_.items():
            assert np.array_equal(weights, other.weights_[name])
        assert one.loss_curve_ == other.loss_curve_
        assert type(one.sample(2)) is type(other.sample(2))
        assert np.array_equal(one.score_samples(stream), other.score_samples(rows))


def test_small_parquet_files_are_fitted_as_a_table_in_memory(tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = pa.Table.from_pandas(mixed_rows(200), preserve_index=False)
    pq.write_table(table, tmp_path / "rows.parquet")
    table = pq.read_table(tmp_path / "rows.parquet")
    one, other = small().fit(str(tmp_path / "rows.parquet")), small().fit(table)
    for name, weights in one.weights_.items():
        assert np.array_equal(weights, other.weights_[name])
    assert one.sample(5).equals(other.sample(5))


def test_a_streamed_fit_knows_what_a_fit_in_memory_knows(small_buffers, monkeypatch):
    few_draws(monkeypatch)
    frame = mixed_rows(2500)[["normal", "skewed", "count", "shop", "zero", "gaps"]]
    # Rare, and at the end: no sample of 1000 rows is sure to hold it.
    frame.loc[2490, ["shop", "normal"]] = ["rare", 9.0]
    one, other = (small(max_iter=0).fit(X) for X in (Frames(frame), frame))
    for column, known in zip(one.schema_.columns, other.schema_.columns, strict=True):
        for name in ("feature_type", "low", "high", "n_missing", "is_category", "bin_width"):
            assert str(getattr(column, name)) == str(getattr(known, name)), column.name
        assert str(column.levels) == str(known.levels) and str(column.atoms) == str(known.atoms)
    encoding, known = one.state_.encoding, other.state_.encoding
    assert np.array_equal(encoding.seen, known.seen)
    assert np.array_equal(encoding.categories.log_pmf, known.categories.log_pmf)
    assert encoding.tables.keys() == known.tables.keys()
    for j, table in encoding.tables.items():
        assert np.array_equal(table.log_pmf, known.tables[j].log_pmf)
    unmapped = ~encoding.warp.columns
    assert unmapped.sum() > 3 and encoding.warp.columns[1]
    assert encoding.basis.mean_[unmapped] == pytest.approx(known.basis.mean_[unmapped], rel=1e-9)
    difference = one.score_samples(frame[:100]) - other.score_samples(frame[:100])
    # The marginals of six columns are those of 1000 rows in place of 2500: each of their
    # parameters, some ten a column, costs about half a nat over the number of rows.
    assert abs(difference.mean()) < 0.2


def test_parquet_files_are_streamed(tmp_path, small_buffers):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = pa.Table.from_pandas(mixed_rows(400)[["normal", "shop", "time"]], preserve_index=False)
    for k in range(2):
        path = tmp_path / f"{k}.parquet"
        pq.write_table(table.slice(200 * k, 200), path, row_group_size=70)
    table = pq.read_table(tmp_path)
    gen = small(max_iter=2).fit(tmp_path)
    streamed = small(max_iter=2).fit(Frames(table))
    assert repr(gen.schema_) == repr(streamed.schema_)
    assert gen.sample(3).schema == table.schema
    assert gen.n_iter_ == 2 and len(gen.validation_index_) == 40


def test_held_out_rows_are_fixed_and_never_trained_on(small_buffers):
    X = np.column_stack([np.arange(3000.0), np.random.default_rng(0).normal(size=3000)])
    gen = small(max_iter=0, validation_fraction=0.2).fit(Frames(X))
    stream = streams.FrameStream(Frames(X))
    rows = streamed_rows.StreamedRows.first(gen, stream, Schema(), IdentityBasis(), 5)
    index, train, judged = rows.split()
    assert np.array_equal(judged.values[:, 0], index)
    assert len(rows) == 3000 and train.n_train == 3000 - len(index)
    seen = np.concatenate([block[:, 0] for block in islice(train.shuffled_blocks(), 60)])
    first_pass_rows = seen[: train.n_train]
    assert np.array_equal(np.sort(first_pass_rows), np.setdiff1d(np.arange(3000), index))
    assert not np.isin(index, seen).any()
    assert np.isin(rows.training_sample().values[:, 0], index).sum() == 0
    fitted = small(max_iter=1).fit(Frames(X))
    assert len(fitted.validation_index_) == 300
    assert np.array_equal(small(max_iter=1).fit(Frames(X, (50,))).validation_index_,
                          fitted.validation_index_)  # fmt: skip


def test_fits_of_one_seed_are_equal_and_order_changes_from_pass_to_pass(small_buffers, tmp_path):
    X = as_memmap(continuous(2000), tmp_path / "x.dat")
    one, other = (small().fit(X) for _ in range(2))
    for name, weights in one.weights_.items():
        assert np.array_equal(weights, other.weights_[name])
    another = small(random_state=1).fit(X)
    assert any(not np.array_equal(another.weights_[k], one.weights_[k]) for k in one.weights_)
    rows = streamed_rows.StreamedRows.first(
        one, streams.ArrayStream(X), Schema(), IdentityBasis(), 0
    )
    blocks = list(islice(rows.shuffled_blocks(), 40))
    assert not np.array_equal(np.concatenate(blocks[:20]), np.concatenate(blocks[20:]))


@pytest.mark.parametrize("kind", ["memmap", "frames"])
def test_an_interrupted_fit_goes_on_to_the_same_bits(kind, small_buffers, tmp_path, monkeypatch):
    # 1,800 rows are trained on, three epochs a pass, each of three steps.
    X = continuous(2000)
    opened = {
        "memmap": lambda: as_memmap(X, tmp_path / "x.dat"), "frames": lambda: Frames(X),
    }[kind]  # fmt: skip
    settings = {"max_iter": 6, "batch_size": 200, "random_state": 3, "bin_width": None}
    expected = small(**settings).fit(opened())
    path = tmp_path / "fit.ckpt"
    # Within the first epoch, within one of the second pass, and before the first step of one.
    for n in (2, 12, 4):
        with monkeypatch.context() as patch, pytest.raises(Killed):
            killed_before(patch, n)
            small(training=Training(path), **settings).fit(opened())
    assert_equal(small(training=Training(path), **settings).fit(opened()), expected)
    # The run is done: no step is taken again.
    monkeypatch.delattr("gudlearn.training.trainer.Trainer.step")
    assert_equal(small(training=Training(path), **settings).fit(opened()), expected)


def test_a_checkpoint_of_other_rows_is_refused(small_buffers, tmp_path):
    X, path = continuous(2000), tmp_path / "fit.ckpt"
    small(training=Training(path)).fit(Frames(X))
    changed = X.copy()
    changed[1500, 1] += 1e-9
    with pytest.raises(ValueError, match="is that of another fit: X has other values"):
        small(training=Training(path)).fit(Frames(changed))
    with pytest.raises(ValueError, match=r"X has shape \(1999, 3\), and had \(2000, 3\)"):
        small(training=Training(path)).fit(Frames(X[1:]))


def test_rows_that_came_first_are_left_out(small_buffers):
    X = np.column_stack([np.arange(1000.0), continuous(1000)[:, 0]])
    gen, stream = small(), streams.FrameStream(Frames(X))
    rows = streamed_rows.StreamedRows.first(gen, stream, Schema(), IdentityBasis(), 5)

    def numbers(first, n):
        blocks = islice(rows.shuffled_blocks(first), 60)
        return np.concatenate([block[:, 0] for block in blocks])[:n]

    every = numbers(0, 2700)
    for first in (1, 350, 900, 901, 2000):
        np.testing.assert_array_equal(numbers(first, 500), every[first : first + 500])


def test_an_epoch_is_a_buffer_and_buffers_hold_several_blocks(small_buffers, tmp_path):
    X = np.column_stack([np.arange(5000.0) // 100, continuous(5000)[:, 0]])
    gen = small(max_iter=7).fit(as_memmap(X, tmp_path / "x.dat"))
    assert gen.n_iter_ == 7 and len(gen.loss_curve_) == 7
    rows = streamed_rows.StreamedRows.first(
        gen, streams.ArrayStream(as_memmap(X, tmp_path / "y.dat")), Schema(), IdentityBasis(), 0
    )
    assert rows.per_epoch == 600
    source = StreamSource(gen.state_.encoding, gen.state_.preconditioner, rows, torch.device("cpu"))
    counts = []
    for draw in range(3):
        source.begin_epoch(draw)
        assert len(source) == 600
        blocks = source.components(torch.arange(600))[:, 0].unique()
        counts.append(len(blocks))
    source.close()
    # About 90 rows of each block of 100 are not held out.
    assert min(counts) >= 6


def test_the_default_budget_counts_rows_seen(small_buffers, monkeypatch):
    asked = []
    monkeypatch.setattr(fit, "n_epochs", lambda *a: asked.append(a) or 1)
    small(max_iter="auto").fit(Frames(continuous(2000)))
    assert asked[0][2] == 600


def test_seconds_end_a_fit_inside_an_epoch_and_evaluations_happen(monkeypatch):
    monkeypatch.setattr(streams, "MOST_IN_MEMORY", 100)
    monkeypatch.setattr(streamed_rows, "ROWS_PER_EPOCH", 4000)
    monkeypatch.setattr(first_pass, "MOST_SAMPLED", 1000)
    clock = [0.0]
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    trained = fit.run_epochs

    def run(trainer, source, budget, **kwargs):
        step, rates, budget.start = trainer.step, [], 0.0

        def counted(batch, rate, imputed):
            clock[0] += 1.0
            rates.append(rate)
            return step(batch, rate, imputed)

        monkeypatch.setattr(trainer, "step", counted)
        log = trained(trainer, source, budget, **kwargs)
        run.rates = rates
        return log

    monkeypatch.setattr(fit, "run_epochs", run)
    patient = {"early_stopping": True, "n_iter_no_change": 99}
    gen = small(max_iter="auto", max_time=100.0, batch_size=64, **patient)
    gen.fit(Frames(continuous(5000)))
    # Of an epoch of 62 steps the second is cut off, and the learning rate has decayed to zero.
    assert len(run.rates) == 100 and run.rates[-1] == pytest.approx(1 / 100)
    assert gen.n_iter_ == 2 and len(gen.validation_scores_) == 3


def test_missing_values_are_trained_on_and_scored(small_buffers):
    frame = mixed_rows(1500)[["normal", "gaps"]]
    gen = small(max_iter=3).fit(Frames(frame))
    assert gen.conditional_rate_ == 0.3
    assert np.isfinite(gen.loss_curve_).all()
    assert np.isfinite(gen.score_samples(frame[:20])).all()


def test_one_missing_value_outside_the_sample_is_known(small_buffers):
    X = continuous(4000)
    gen = small(max_iter=0).fit(Frames(X))
    X[3999, 1] = np.nan
    with_gap = small(max_iter=0).fit(Frames(X))
    assert (gen.conditional_rate_, with_gap.conditional_rate_) == (0.0, 0.3)
    assert with_gap.schema_.columns[1].n_missing == 1
    basis = BlockBasis([("a", PCABasis(), [0, 1]), ("b", IdentityBasis(), [2])])
    with pytest.raises(ValueError, match="NaN|missing"):
        small(basis=basis).fit(Frames(X))


@pytest.mark.parametrize(
    "parameters",
    [
        {"bin_width": 1.0}, {"basis": "pca", "bin_width": 1.0},
        {"preconditioning": "mixture", "validation_fraction": 0}, {"retrieval": 50},
        {"targets": "all", "early_stopping": True, "schema": Schema(constraints=["x0 >= 0"])},
    ],
    ids=str,
)  # fmt: skip
def test_every_kind_of_fit_takes_a_stream(parameters, small_buffers, monkeypatch):
    few_draws(monkeypatch)
    X = whole(400)
    gen = small(**parameters).fit(Frames(X))
    assert np.isfinite(gen.loss_curve_).all() and gen.n_iter_ == 2
    assert np.isfinite(gen.score_samples(X[:5])).all()
    assert gen.sample(3).shape == (3, 3)
    if "retrieval" in parameters:
        keys = gen.state_.preconditioner.reference
        assert keys is not None


def test_no_thread_is_left_after_a_fit(small_buffers):
    before = threading.active_count()
    gen = small(max_iter=2).fit(Frames(continuous(1000)))
    assert gen.n_iter_ == 2
    assert threading.active_count() == before


# Scores and samples in blocks


def test_scores_of_a_stream_are_those_of_rows_in_memory(monkeypatch, tmp_path):
    few_draws(monkeypatch)
    frame = mixed_rows(700)[["normal", "shop", "gaps"]]
    gen = small(max_iter=1, conditional_rate=0.3).fit(frame[:100])
    inside = gen.score_samples(frame)
    monkeypatch.setattr(streams, "MOST_IN_MEMORY", 100)
    monkeypatch.setattr(user_data, "rows_per_block", lambda n_columns: 300)
    for sizes in ((700,), (7, 250)):
        assert np.array_equal(gen.score_samples(Frames(frame, sizes)), inside)
    given = {"given_columns": ["shop"], "return_std": True}
    for one, other in zip(
        gen.score_samples(Frames(frame), **given), gen.score_samples(frame, **given), strict=True
    ):
        assert np.array_equal(one, other, equal_nan=True)
    assert gen.score(Frames(frame)) == inside.mean()
    X = whole(600)
    gen = small(max_iter=1, bin_width=1.0).fit(X[:100])
    disk = as_memmap(X, tmp_path / "x.dat")
    assert np.array_equal(gen.score_samples(disk), gen.score_samples(X))


def test_blocks_of_samples_are_the_samples():
    gen = small(max_iter=1).fit(mixed_rows(100))
    rows = gen.sample(600, random_state=3)
    for block_size, n in ((1, 5), (100, 6), (256, 3), (5000, 1)):
        blocks = list(islice(gen.iter_sample(600, block_size=block_size, random_state=3), n))
        assert {len(block) for block in blocks[:-1]} <= {block_size} and len(blocks) == n
        pd.testing.assert_frame_equal(
            pd.concat(blocks, ignore_index=True), rows[: sum(map(len, blocks))], check_exact=True
        )


def test_blocks_of_samples_with_classes_constraints_and_images():
    X = continuous(100)
    with_classes = small(class_conditional=True).fit(X, np.arange(100) % 3)
    frame = pd.DataFrame(np.abs(whole(100)), columns=list("abc"))
    constrained = small(schema=Schema(constraints=["a <= c"])).fit(frame[frame.a <= frame.c])
    images = tiny(max_iter=1).fit(random_images(20))
    for gen, n in ((with_classes, 280), (constrained, 100), (images, 70)):
        blocks = [np.asarray(block) for block in gen.iter_sample(n, block_size=33)]
        assert np.array_equal(np.concatenate(blocks), np.asarray(gen.sample(n)))
    assert len(blocks[0]) == 33


@pytest.mark.parametrize("parameter", ["n_samples", "block_size"])
@pytest.mark.parametrize("value", [0, 1.5, True])
def test_numbers_of_samples_and_blocks_are_checked_at_once(parameter, value):
    gen = small(max_iter=0).fit(continuous())
    with pytest.raises(ValueError, match=f"{parameter}={value} must be a whole number"):
        gen.iter_sample(**{"n_samples": 5, "block_size": 2, parameter: value})


# Bad input


def never(monkeypatch):
    """Let training fail, so that errors come before it."""

    def train(*args, **kwargs):
        raise AssertionError("training began")

    monkeypatch.setattr(fit, "run_epochs", train)


class Fickle(Frames):
    """Frames of which only the first is left after two passes, one of which only looks at them."""

    def __iter__(self):
        for k, frame in enumerate(super().__iter__()):
            if self.n_passes <= 2 or k == 0:
                yield frame


def test_errors_come_before_training(small_buffers, monkeypatch):
    never(monkeypatch)
    X, y = continuous(1000), np.arange(1000) % 2
    with pytest.raises(ValueError, match="class_conditional=True needs labels in memory.*one more"):
        small(class_conditional=True).fit(Frames(X), y)
    with pytest.raises(ValueError, match="shape=.3, 1. says that X holds images"):
        small(shape=(3, 1)).fit(Frames(X))
    with pytest.raises(ValueError, match="training__devices=2 needs rows in memory"):
        small(training=Training(devices=2)).fit(Frames(X))
    with pytest.raises(ValueError, match="partial_fit takes rows in memory.* one block after"):
        small().partial_fit(Frames(X))
    with pytest.raises(ValueError, match="was first read, and .* when it was read again"):
        small().fit(Fickle(X, (600, 100)))
    X[990, 1] = np.inf
    with pytest.raises(ValueError, match="infinity: column 'x1', row 990"):
        small().fit(Frames(X))
    X[:, 1] = np.nan
    with pytest.raises(ValueError, match="'x1'. of X hold nothing but NaN. Drop them"):
        small().fit(Frames(X))
    X = whole(1000)
    X[990, 1] += 0.5
    with pytest.raises(ValueError, match="Column 'x1' holds .* in row 990, which is not a whole"):
        small(bin_width=1.0).fit(Frames(X))
    X[990, 1] = -3
    with pytest.raises(ValueError, match="rows violate 'x1 >= 0': rows 990. C"):
        small(schema=Schema(constraints=["x1 >= 0"])).fit(Frames(X))


def test_a_failed_fit_leaves_an_estimator_as_it_was(small_buffers):
    gen = small().fit(continuous(200)[:30])
    before = gen.weights_
    with pytest.raises(FileNotFoundError, match="there is no file or folder"):
        gen.fit("nowhere.parquet")
    with pytest.raises(ValueError, match="Item 0 of the Dataset has shape"):
        gen.fit(Items([np.zeros((2, 2))]))
    assert gen.weights_ is before and gen.n_features_in_ == 3


def test_large_streams_are_refused_where_they_are_not_read_in_blocks(small_buffers):
    X, frames = continuous(30), Frames(continuous(200))
    gen = small(warm_start=True, class_conditional=True).fit(X, np.arange(30) % 2)
    with pytest.raises(ValueError, match="class_conditional=True needs labels in memory"):
        gen.fit(frames)
    with pytest.raises(ValueError, match="y= holds labels in memory, but X is larger"):
        gen.score_samples(frames, y=0)
    with pytest.raises(ValueError, match="X is larger than memory: fit, score and score_samples"):
        gen.score_components(frames)
    gen = small(warm_start=True).fit(X)
    with pytest.raises(ValueError, match="warm_start=True continues with rows in memory"):
        gen.fit(frames)


def test_an_error_while_reading_ends_training_and_keeps_weights(small_buffers):
    class Breaking(Frames):
        def __iter__(self):
            for k, frame in enumerate(super().__iter__()):
                if self.n_passes > 4 and k > 3:
                    raise OSError("the disk is gone")
                yield frame

    gen = small(max_iter=50)
    with pytest.raises(OSError, match="the disk is gone"):
        gen.fit(Breaking(continuous(2000), (300,)))
    assert all(np.isfinite(weights).all() for weights in gen.weights_.values())
    assert gen.n_iter_ > 0 and gen.sample(2).shape == (2, 3)


def test_a_file_of_a_streamed_model_loads(small_buffers, tmp_path, monkeypatch):
    few_draws(monkeypatch)
    gen = small(max_iter=1).fit(Frames(mixed_rows(300)))
    gudlearn.save(gen, tmp_path / "model.gud")
    loaded = gudlearn.load(tmp_path / "model.gud")
    rows = mixed_rows(20, seed=1)
    assert np.array_equal(loaded.score_samples(rows), gen.score_samples(rows))
