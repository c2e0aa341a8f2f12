"""Checkpoints: a fit that ends at any step goes on to the same bits, and nothing is lost."""

import copy
import functools
import os
import stat
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from interrupted import Killed, assert_equal, killed_before
from sklearn.base import clone
from torch import nn

import gudlearn
from gudlearn import GUDImputer, Training
from gudlearn.model.state import ModelState
from gudlearn.storage import archive
from gudlearn.training.checkpoints import Checkpoint
from small import TINY, continuous, random_images, small, whole, with_missing


class Plain(nn.Module):
    """A network whose layers have running statistics, and draw from torch's global generator."""

    def __init__(self, n_components, n_channels):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(n_components * n_channels, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3),
            nn.Linear(8, n_components),
        )  # fmt: skip

    def forward(self, inputs, gamma):
        return 0.1 * self.layers(inputs.flatten(1))


def mixed(n=60):
    draw = np.random.default_rng(0)
    frame = pd.DataFrame({"a": draw.normal(size=n), "b": draw.choice(["x", "y", "z"], n)})
    frame["c"] = frame["a"] + (frame["b"] == "x") + 0.1 * draw.normal(size=n)
    return frame


IMAGES = {"network": TINY, "random_flips": True}
MISSING = with_missing(continuous(60))
# Parameters and data by what they add to the state of a run.
FITS = {
    "muon, dropout": ({"network": gudlearn.MLP(width=16, n_blocks=2)}, continuous(60)),
    "adamw, masks": ({"optimizer": "adamw", "conditional_rate": 0.37}, continuous(60)),
    "dequantised": (
        {"bin_width": [1.0, 0.5, 1.0], "basis": "pca", "accumulation_steps": 2},
        whole(60),
    ),
    "imputed": ({"max_iter": 40, "batch_size": 30}, MISSING),
    "imputed, early": ({"max_iter": 40, "early_stopping": True, "tol": 5.0}, MISSING),
    "categories": ({}, mixed()),
    "targets": ({"targets": "all"}, MISSING),
    "retrieval": ({"retrieval": 20}, continuous(60)),
    "global state": ({"network": Plain}, continuous(60)),
    "images": ({**IMAGES, "max_iter": 2}, random_images(36, (4, 4, 1))),
    "no validation": ({"validation_fraction": 0.0}, continuous(60)),
    "labels": ({"class_conditional": True}, continuous(60)),
}
every_fit = pytest.mark.parametrize("case", FITS)


def settings(case, path=None, interval=1000, **parameters):
    """A generator of a case."""
    defaults = {"max_iter": 4, "batch_size": 16, "random_state": 5}
    training = "auto" if path is None else Training(path, interval)
    gen = clone(small(training=training, **{**defaults, **FITS[case][0]}))
    return gen.set_params(**parameters)


def fit(case, path=None, **parameters):
    """A fitted generator of a case."""
    X = FITS[case][1]
    return settings(case, path, **parameters).fit(X, np.arange(len(X)) % 2)


@functools.cache
def alone(case):
    """The fit of a case that was never interrupted."""
    return fit(case)


def interrupted(monkeypatch, case, path, n, **parameters):
    """End a fit before its n-th step."""
    with monkeypatch.context() as patch, pytest.raises(Killed):
        killed_before(patch, n)
        fit(case, path, **parameters)


@every_fit
def test_an_interrupted_fit_goes_on_to_the_same_bits(case, tmp_path, monkeypatch):
    expected, path = alone(case), tmp_path / "fit.ckpt"
    # Near the beginning, within epochs, and after the last imputation.
    # Between imputations that have to wait for each other.
    at = {"imputed": (2, 50), "imputed, early": (50,), "images": (3,)}
    for n in at.get(case, (1, 5)):
        interrupted(monkeypatch, case, path, n)
    assert_equal(fit(case, path), expected)
    assert [file.name for file in tmp_path.iterdir()] == ["fit.ckpt"]


def test_steps_before_the_checkpoint_are_not_taken_again(tmp_path, monkeypatch):
    case, path = "muon, dropout", tmp_path / "fit.ckpt"
    interrupted(monkeypatch, case, path, 6)
    steps, step = [], gudlearn.training.trainer.Trainer.step

    def count(trainer, *arguments):
        steps.append(trainer.steps)
        return step(trainer, *arguments)

    monkeypatch.setattr("gudlearn.training.trainer.Trainer.step", count)
    fit(case, path)
    # 54 rows in three steps of an epoch.
    assert steps == list(range(5, 12))


@pytest.mark.parametrize("missing", [False, True])
def test_what_is_not_in_the_checkpoint_would_be_noticed(missing, tmp_path, monkeypatch):
    # The comparison of bits can fail: without one part of the state it does.
    case = "imputed" if missing else "adamw, masks"
    expected, path = alone(case), tmp_path / "fit.ckpt"
    interrupted(monkeypatch, case, path, 50 if missing else 6)
    kind = "imputation.Imputation" if missing else "trainer.Trainer"
    monkeypatch.setattr(f"gudlearn.training.{kind}.load_state_dict", lambda *_: None)
    found = fit(case, path)
    with pytest.raises(AssertionError):
        assert_equal(found, expected)


def test_a_finished_fit_gives_its_result_at_once(tmp_path, monkeypatch):
    path = tmp_path / "fit.ckpt"
    first = alone("imputed")
    assert_equal(fit("imputed", path), first)
    before = path.read_bytes()
    monkeypatch.delattr("gudlearn.training.trainer.Trainer.step")
    assert_equal(fit("imputed", path), first)
    # Parameters that training does not read may differ.
    other = fit("imputed", path, sampler="ddim", n_draws=3)
    assert all((other.weights_[name] == value).all() for name, value in first.weights_.items())
    assert path.read_bytes() == before


def test_the_file_keeps_the_seed_that_was_drawn(tmp_path, monkeypatch):
    case, path = "retrieval", tmp_path / "fit.ckpt"
    interrupted(monkeypatch, case, path, 3, random_state=None)
    goes_on = fit(case, path, random_state=None)
    assert goes_on.n_iter_ == 4
    assert_equal(fit(case, path, random_state=None), goes_on)
    assert fit(case, random_state=None).loss_curve_ != goes_on.loss_curve_


def test_a_random_state_that_has_advanced_is_another_seed(tmp_path):
    path, state = tmp_path / "fit.ckpt", np.random.RandomState(0)
    first = fit("labels", path, random_state=state)
    assert_equal(fit("labels", path, random_state=np.random.RandomState(0)), first)
    with pytest.raises(ValueError, match="random_state gives another seed"):
        fit("labels", path, random_state=state)


def test_a_time_limit_goes_on_with_what_was_left(tmp_path, monkeypatch):
    case, path, clock = "muon, dropout", tmp_path / "fit.ckpt", SimpleNamespace(now=0.0)
    clock.monotonic = lambda: clock.now
    monkeypatch.setattr("gudlearn.training.loop.time", clock)
    step = gudlearn.training.trainer.Trainer.step

    def second(trainer, *arguments):
        clock.now += 1.0
        return step(trainer, *arguments)

    monkeypatch.setattr("gudlearn.training.trainer.Trainer.step", second)
    limits = {"max_time": 10.0, "max_iter": "auto"}
    expected = fit(case, **limits)
    # Ten steps, three in an epoch.
    assert expected.n_iter_ == 4
    interrupted(monkeypatch, case, path, 6, **limits)
    clock.now += 1000.0
    assert_equal(fit(case, path, **limits), expected)
    assert_equal(fit(case, path, **limits), expected)
    assert clock.now == 10.0 + 5.0 + 1000.0 + 5.0


def test_a_continued_fit_goes_on(tmp_path, monkeypatch):
    X, path = continuous(60), tmp_path / "fit.ckpt"
    first = small(warm_start=True).fit(X)

    def continued():
        gen = copy.copy(first)
        return gen.set_params(training=Training(path), max_iter=5)

    expected = continued().set_params(training="auto").fit(X)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        killed_before(patch, 4)
        continued().fit(X)
    again = continued().fit(X)
    assert_equal(again, expected)
    assert again.n_iter_ == 7
    with pytest.raises(ValueError, match=r"training starts from other weights \(warm_start\)"):
        again.fit(X)


def test_nothing_to_train_writes_nothing(tmp_path):
    path = tmp_path / "fit.ckpt"
    fit("labels", path, max_iter=0)
    small(training=Training(path)).fit(np.ones((10, 2)))
    small(training=Training(path)).partial_fit(continuous())
    assert not list(tmp_path.iterdir())


# Other fits


def changed_value(X):
    X = X.copy()
    X[3, 1] += 1e-9
    return X


OTHERS = {
    "parameter": ({"batch_size": 32}, None, "batch_size=32, and was 16"),
    "nested": (
        {"network__width": 17}, None, r"network=MLP\(.*width=17\), and was MLP\(.*width=16\)"
    ),
    "other network": ({"network": Plain}, None, r"network=\S*Plain, and was MLP"),
    "array": (
        {"bin_width": np.full(3, np.nan)}, None, r"bin_width=array of shape \(3,\), and was 'auto'"
    ),
    "rows": ({}, continuous(61), r"X has shape \(61, 3\), and had \(60, 3\)"),
    "columns": ({}, continuous(60, 4), r"X has shape \(60, 4\), and had \(60, 3\)"),
    "value": ({}, changed_value(continuous(60)), "X has other values"),
    "order": ({}, continuous(60)[::-1], "X has other values"),
    "seed": ({"random_state": 6}, None, "random_state gives another seed"),
    "labels": ({"class_conditional": True}, None, "class_conditional=True, and was False"),
    "two": ({"batch_size": 32, "tol": 0.5}, None, "batch_size=32, and was 16; tol=0.5, and was"),
}  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The bytes of a checkpoint of a fit that has ended."""
    path = tmp_path_factory.mktemp("finished") / "fit.ckpt"
    fit("muon, dropout", path, max_iter=2)
    return path.read_bytes()


def refused(tmp_path, data, message, parameters=None, X=None):
    """A checkpoint is refused; file and estimator stay as they were."""
    path = tmp_path / "fit.ckpt"
    path.write_bytes(data)
    X = FITS["muon, dropout"][1] if X is None else X
    gen = settings("muon, dropout", path, max_iter=2).set_params(**parameters or {})
    gen.state_ = before = object()
    with pytest.raises(ValueError, match=message) as raised:
        gen.fit(X, np.arange(len(X)) % 2)
    assert "Nothing was changed" in str(raised.value) and str(path) in str(raised.value)
    assert path.read_bytes() == data and gen.state_ is before
    assert [file.name for file in tmp_path.iterdir()] == ["fit.ckpt"]


@pytest.mark.parametrize(("parameters", "X", "message"), OTHERS.values(), ids=OTHERS)
def test_a_checkpoint_of_another_fit_is_refused(parameters, X, message, finished, tmp_path):
    refused(tmp_path, finished, f"is that of another fit: .*{message}", parameters, X)


def test_labels_are_compared(tmp_path):
    path, X = tmp_path / "fit.ckpt", continuous(60)
    gen = small(class_conditional=True, training=Training(path)).fit(X, np.arange(60) % 2)
    with pytest.raises(ValueError, match="another fit: y has other values"):
        gen.fit(X, np.arange(60) // 30)


def test_types_of_columns_are_compared(tmp_path):
    path, codes = tmp_path / "fit.ckpt", np.arange(60) % 3
    X = pd.DataFrame({"a": continuous(60)[:, 0], "b": codes})
    gen = small(training=Training(path)).fit(X)
    # The same codes, in columns of other kinds.
    X["b"] = np.array(["x", "y", "z"])[codes]
    with pytest.raises(ValueError, match="another fit: X has columns of other types"):
        gen.fit(X)


def test_arrays_are_compared_by_value(tmp_path):
    path, X, widths = tmp_path / "fit.ckpt", whole(60), np.ones(3)
    gen = small(training=Training(path), bin_width=widths).fit(X)
    gen.set_params(bin_width=np.array([1.0, 1.0, 0.5]))
    with pytest.raises(ValueError, match=r"shape \(3,\), and was another value of that kind"):
        gen.fit(X)


def test_a_checkpoint_of_another_version_is_refused(finished, tmp_path, monkeypatch):
    monkeypatch.setattr("gudlearn.training.checkpoints.own_version", lambda: "99.0")
    refused(tmp_path, finished, "was written by gudlearn .*, and this is 99.0")


def test_a_newer_layout_is_refused(finished, tmp_path, monkeypatch):
    monkeypatch.setattr("gudlearn.training.checkpoints.LAYOUT", archive.Layout("checkpoint", 0))
    refused(tmp_path, finished, "cannot be read: its schema 1 is newer than 0")


@pytest.mark.parametrize("random_state", [5, None])
def test_damaged_files_are_refused(random_state, finished, tmp_path):
    parameters = {"random_state": random_state}
    for n in (0, 10, len(finished) // 2, len(finished) - 1):
        refused(tmp_path, finished[:n], "cannot be read: ", parameters)
    flipped = bytearray(finished)
    flipped[len(finished) // 2] ^= 1
    refused(tmp_path, bytes(flipped), "cannot be read: ", parameters)


def test_a_model_is_no_checkpoint_and_a_checkpoint_no_model(finished, tmp_path):
    gudlearn.save(small(), tmp_path / "fit.ckpt")
    message = "not that of a checkpoint of gudlearn, but of a gudlearn model"
    refused(tmp_path, (tmp_path / "fit.ckpt").read_bytes(), message)
    (tmp_path / "fit.ckpt").write_bytes(finished)
    with pytest.raises(gudlearn.io.ModelFileError, match="but of a gudlearn checkpoint"):
        gudlearn.load(tmp_path / "fit.ckpt")


def test_data_that_are_prepared_otherwise_are_told(tmp_path, monkeypatch):
    path = tmp_path / "fit.ckpt"
    fit("muon, dropout", path)
    encode = gudlearn.model.fitted.FittedModel.encode
    monkeypatch.setattr(
        "gudlearn.model.fitted.FittedModel.encode", lambda self, rows: encode(self, rows) + 1e-12
    )
    with pytest.warns(UserWarning, match="is not what it was to the bit"):
        fit("muon, dropout", path)


# Disks


@pytest.mark.parametrize(
    ("place", "reason"), [("no/fit.ckpt", "No such file"), ("", "is a folder"), ("file/x", "Not a")]
)
def test_an_unwritable_path_is_found_before_anything_is_read(place, reason, tmp_path):
    (tmp_path / "file").touch()
    gen = small(training=Training(tmp_path / place))
    with pytest.raises(OSError, match=f"checkpoint=.* cannot be written: .*{reason}"):
        gen.fit("no data")
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_found(tmp_path):
    tmp_path.chmod(stat.S_IREAD | stat.S_IEXEC)
    with pytest.raises(OSError, match="Permission denied"):
        small(training=Training(tmp_path / "fit.ckpt")).fit(continuous())


def full_disk(monkeypatch, first=1):
    """Let the disk be full from a number of writes on."""
    pack_into, count = archive.pack_into, iter(range(first - 1))

    def write(file, *arguments):
        if next(count, None) is None:
            file.write(b"as far as there is room")
            raise OSError(28, "No space left on device")
        return pack_into(file, *arguments)

    monkeypatch.setattr(archive, "pack_into", write)


def test_a_full_disk_is_found_before_training(tmp_path, monkeypatch):
    full_disk(monkeypatch)
    gen = settings("labels", tmp_path / "fit.ckpt")
    gen.state_ = before = object()
    with pytest.raises(OSError, match="No space left on device. Nothing was trained. Make room"):
        gen.fit(continuous(60), np.arange(60) % 2)
    assert gen.state_ is before and not list(tmp_path.iterdir())


def test_a_disk_that_fills_warns_once_and_keeps_the_last_checkpoint(tmp_path, monkeypatch):
    case, path = "muon, dropout", tmp_path / "fit.ckpt"
    expected = alone(case)
    with monkeypatch.context() as patch:
        full_disk(patch, 6)
        patch.setattr(Checkpoint, "due", lambda checkpoint: True)
        with pytest.warns(UserWarning, match="could not be written: .*No space left") as told:
            gen = fit(case, path)
    assert len(told) == 1
    assert_equal(gen, expected)
    assert [file.name for file in tmp_path.iterdir()] == ["fit.ckpt"]
    assert_equal(fit(case, path), expected)


def test_checkpoints_take_a_hundredth_of_the_time(tmp_path, monkeypatch):
    clock = SimpleNamespace(now=0.0)
    clock.monotonic = lambda: clock.now
    monkeypatch.setattr("gudlearn.training.checkpoints.time", clock)
    checkpoint = Checkpoint(tmp_path / "fit.ckpt", 10, {}, 0, {}, "")
    checkpoint.open({})
    pack_into = archive.pack_into

    def slow(*arguments):
        clock.now += 0.5
        pack_into(*arguments)

    monkeypatch.setattr(archive, "pack_into", slow)
    due = []
    for clock.now in (9.9, 10.0):
        due.append(checkpoint.due())
    checkpoint.write({})
    for clock.now in (20.5, 59.9, 60.1):
        due.append(checkpoint.due())
    # Half of a second was written at 10.
    assert due == [False, True, False, False, True]


def test_a_file_that_is_replaced_keeps_its_permissions_and_what_was_left_is_removed(tmp_path):
    path = tmp_path / "fit.ckpt"
    left, other = tmp_path / f".fit.ckpt.{'0a' * 8}", tmp_path / ".fit.ckpt.notes"
    for file in (left, other):
        file.touch()
    fit("labels", path)
    assert {file.name for file in tmp_path.iterdir()} == {"fit.ckpt", ".fit.ckpt.notes"}
    path.chmod(0o640)
    fit("labels", path, tol=1e-4)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


# Interrupts


@pytest.mark.parametrize("with_file", [False, True])
def test_ctrl_c_keeps_the_best_weights_and_says_so(with_file, tmp_path, monkeypatch):
    case, path = "muon, dropout", tmp_path / "fit.ckpt" if with_file else None
    expected, step = fit(case, max_iter=8), gudlearn.training.trainer.Trainer.step

    def stop(trainer, *arguments):
        if trainer.steps == 16:
            raise KeyboardInterrupt
        return step(trainer, *arguments)

    gen = settings(case, path, max_iter=8)
    cure = "goes on from checkpoint='.*fit.ckpt'" if with_file else r"Training\(checkpoint="
    with monkeypatch.context() as patch:
        patch.setattr("gudlearn.training.trainer.Trainer.step", stop)
        with (
            pytest.warns(UserWarning, match=f"interrupted after 5 epochs. .*works.*{cure}"),
            pytest.raises(KeyboardInterrupt),
        ):
            gen.fit(FITS[case][1])
    assert gen.n_iter_ == 5 and isinstance(gen.state_, ModelState)
    # Those of the untrained weights, if the others are clearly worse.
    scores = gen.validation_scores_
    assert gen.best_validation_score_ in (scores[0], max(scores[1:]))
    assert gen.loss_curve_ == expected.loss_curve_[:5]
    assert gen.sample(2).shape == (2, 3) and np.isfinite(gen.score(FITS[case][1]))
    gen.fit(FITS[case][1])
    assert_equal(gen, expected)


def test_estimators_around_a_generator_go_on(tmp_path, monkeypatch):
    def fitted(training):
        inner = small(max_iter=3, batch_size=16, training=training)
        return GUDImputer(inner, random_state=3).fit(MISSING).generator_

    training = Training(tmp_path / "fit.ckpt")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        killed_before(patch, 4)
        fitted(training)
    assert_equal(fitted(training), fitted("auto"))
