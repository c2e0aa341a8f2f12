"""A model that was saved and loaded is the model, to the bit."""

import inspect
import os
import pickle
import zipfile

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import gudlearn
from gudlearn import _versions
from gudlearn.files import registry
from gudlearn.files.registry import ESTIMATORS, OBJECTS, RECORDS, TYPES, attributes
from saved import NAMES, N, assert_same, continuous, fitted, one, outputs
from small import few_draws


@pytest.fixture(autouse=True)
def few_draws_of_noise(monkeypatch):
    few_draws(monkeypatch)


every_model = pytest.mark.parametrize("name", NAMES)
PUBLIC = [
    kind for kind in (getattr(gudlearn, name) for name in gudlearn.__all__)
    if inspect.isclass(kind) and issubclass(kind, BaseEstimator)
    and kind is not gudlearn.OptunaSearchCV
]  # fmt: skip


def again(model, folder):
    path = folder / "model.gud"
    gudlearn.save(model, path)
    return gudlearn.load(path)


@every_model
def test_outputs_of_a_loaded_model_are_equal_to_the_bit(name, tmp_path):
    model, X = fitted(name)
    loaded = again(model, tmp_path)
    assert type(loaded) is type(model) and repr(loaded) == repr(model)
    pairs = list(zip(outputs(model, X), outputs(loaded, X), strict=True))
    assert pairs
    for a, b in pairs:
        assert_same(a, b)


@every_model
def test_a_loaded_model_is_saved_as_the_same_file(name, tmp_path):
    model, _ = fitted(name)
    gudlearn.save(model, tmp_path / "one")
    gudlearn.save(gudlearn.load(tmp_path / "one"), tmp_path / "two")
    # skops writes the time and the addresses of objects.
    if "pipeline" not in name:
        assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    with zipfile.ZipFile(tmp_path / "one") as a, zipfile.ZipFile(tmp_path / "two") as b:
        assert a.read("model.json") == b.read("model.json")
        assert a.read("arrays.safetensors") == b.read("arrays.safetensors")


@pytest.mark.parametrize("kind", PUBLIC, ids=lambda kind: kind.__name__)
def test_every_public_class_can_be_saved_before_it_is_fitted(kind, tmp_path):
    if kind is gudlearn.BlockBasis:
        model = kind([("one", gudlearn.PCABasis(), [0, 1])])
    elif kind is gudlearn.GenerativePipeline:
        model = kind([("turn", gudlearn.PCABasis()), ("gud", one(random_state=3))])
    else:
        model = kind()
    loaded = again(model, tmp_path)
    assert type(loaded) is kind and repr(loaded) == repr(model)
    assert repr(loaded.get_params()) == repr(model.get_params())
    assert vars(loaded).keys() == vars(model).keys()
    clone(loaded)


def test_every_class_that_estimators_are_made_of_is_registered():
    defined = {
        kind for module in list(inspect.sys.modules.values())
        if getattr(module, "__name__", "").startswith("gudlearn.")
        for kind in vars(module).values()
        if inspect.isclass(kind) and kind.__module__.startswith("gudlearn.")
        and issubclass(kind, BaseEstimator) and not inspect.isabstract(kind)
        # Adapters of other models are for checks.
        and not kind.__module__.startswith("gudlearn.testing.")
    }  # fmt: skip
    # A search holds estimators of others; its best one is saved.
    assert defined - set(ESTIMATORS) == {gudlearn.OptunaSearchCV}
    # No two of one name, and the kinds of all attributes are known.
    assert len(TYPES) == len(ESTIMATORS) + len(RECORDS) + len(OBJECTS)
    for kind in TYPES.values():
        assert attributes(kind) is not None


def test_a_pipeline_of_scikit_learn_that_ends_in_a_generator(tmp_path):
    X = continuous(N)
    pipeline = make_pipeline(StandardScaler(), one()).fit(X)
    assert_same(again(pipeline, tmp_path).score_samples(X[:3]), pipeline.score_samples(X[:3]))


def test_parameters_that_a_file_does_not_know_have_their_default(tmp_path, monkeypatch):
    class MLP(gudlearn.MLP):
        def __init__(self, width="auto", n_blocks="auto", dropout="auto"):
            self.width, self.n_blocks, self.dropout = width, n_blocks, dropout

    with monkeypatch.context() as patch:
        patch.setitem(registry.TYPES, "MLP", MLP)
        patch.setitem(registry.ESTIMATORS, MLP, "")
        gudlearn.save(MLP(width=5), tmp_path / "earlier.gud")
    later = gudlearn.load(tmp_path / "earlier.gud")
    assert type(later) is gudlearn.MLP and (later.width, later.n_frequencies) == (5, "auto")


def test_parameters_of_every_kind_come_back(tmp_path):
    gen = gudlearn.GUDGenerator(
        bin_width=np.array([1.0, np.nan]), bin_range=[(0, None), (-np.inf, np.inf)],
        random_state=np.random.default_rng(5), schedule=gudlearn.SequentialSchedule(["b", "a"]),
        schema=gudlearn.Schema(feature_types={"a": "ordered", 3: "category"}, bin_width={"a": 2}),
        max_time=np.float64(2.5), batch_size=np.int64(7), shape=(3, 4), targets=("a", "b"),
    )  # fmt: skip
    gen.random_state.normal(size=3)
    loaded = again(gen, tmp_path)
    # The state of the generator after three draws.
    assert (loaded.random_state.normal(size=3) == gen.random_state.normal(size=3)).all()
    for name, value in gen.get_params(deep=False).items():
        other = getattr(loaded, name)
        assert type(other) is type(value), name
        if name not in ("random_state", "bin_width"):
            assert repr(other) == repr(value), name
    np.testing.assert_array_equal(loaded.bin_width, gen.bin_width)
    imputer = gudlearn.GUDImputer(missing_values=np.nan, random_state=np.random.RandomState(1))
    imputer.set_output(transform="pandas")
    loaded = again(imputer, tmp_path)
    assert loaded.random_state.randint(2**31) == imputer.random_state.randint(2**31)
    assert vars(loaded)["_sklearn_output_config"] == {"transform": "pandas"}


def test_training_goes_on_from_a_file_as_from_a_pickle(tmp_path):
    X = continuous(N)
    gen = one().partial_fit(X)
    here, there = pickle.loads(pickle.dumps(gen)), again(gen, tmp_path)
    here.partial_fit(X)
    there.partial_fit(X)
    assert here.weights_.keys() == there.weights_.keys()
    for name, value in here.weights_.items():
        np.testing.assert_array_equal(there.weights_[name], value)


def test_what_two_parts_share_is_shared_again(tmp_path):
    model, _ = fitted("numbers")
    state = again(model, tmp_path).state_
    # Times are drawn from the density of the schedule that it was measured for.
    assert state.time_weights.schedule is state.schedule
    assert state.time_weights.under(state.schedule) is state.time_weights
    classifier = again(fitted("classifier")[0], tmp_path)
    table = vars(vars(classifier)["_model"])["_table"]
    assert table.generator is classifier.generator_


def test_arrays_keep_their_order_and_can_be_written_to(tmp_path):
    basis = gudlearn.PCABasis().fit(continuous(N))
    basis.mean_ = np.asfortranarray(np.arange(12.0).reshape(3, 4))
    loaded = again(basis, tmp_path)
    assert loaded.mean_.flags.f_contiguous and not loaded.mean_.flags.c_contiguous
    np.testing.assert_array_equal(loaded.mean_, basis.mean_)
    assert loaded.mean_.flags.writeable and loaded.scale_.flags.writeable


def test_a_model_of_a_machine_with_a_gpu_loads_without_one(tmp_path):
    model, X = fitted("numbers")
    fitted_there = pickle.loads(pickle.dumps(model)).set_params(device="cuda")
    loaded = again(fitted_there, tmp_path)
    assert loaded.device == "cuda"
    assert_same(loaded.set_params(device="cpu").score_samples(X[:3]), model.score_samples(X[:3]))
    assert all(type(value) is np.ndarray for value in loaded.state_.weights.values())


def test_a_tensor_is_refused(tmp_path):
    basis = gudlearn.PCABasis().fit(continuous(N))
    basis.mean_ = torch.zeros(3)
    with pytest.raises(TypeError, match="mean_ is a Tensor, which a file without code cannot hold"):
        gudlearn.save(basis, tmp_path / "model.gud")


@pytest.mark.parametrize("name", ["numbers", "outliers", "pipeline"])
def test_pickle_and_joblib_keep_working(name, tmp_path):
    model, X = fitted(name)
    joblib.dump(model, tmp_path / "model.joblib")
    for loaded in (pickle.loads(pickle.dumps(model)), joblib.load(tmp_path / "model.joblib")):
        for a, b in zip(outputs(model, X), outputs(loaded, X), strict=True):
            assert_same(a, b)
        assert vars(loaded).keys() == vars(model).keys()


def test_skops_keeps_working():
    skops = pytest.importorskip("skops.io")
    model, X = fitted("numbers")
    data = skops.dumps(model)
    loaded = skops.loads(data, trusted=skops.get_untrusted_types(data=data))
    assert_same(loaded.score_samples(X[:3]), model.score_samples(X[:3]))


@pytest.mark.parametrize("kind", PUBLIC, ids=lambda kind: kind.__name__)
def test_unpickling_under_another_version_warns(kind, monkeypatch):
    needed = {
        gudlearn.BlockBasis: [[]],
        gudlearn.GenerativePipeline: [[("gud", "passthrough")]],
    }
    model = kind(*needed.get(kind, ()))
    data = pickle.dumps(model)
    pickle.loads(data)
    monkeypatch.setattr(gudlearn, "__version__", "99.0")
    with pytest.warns(UserWarning, match=f"{kind.__name__} was pickled by gudlearn .* 99.0"):
        pickle.loads(data)


def test_the_old_file_stays_if_a_new_one_cannot_be_written(tmp_path, monkeypatch):
    path = tmp_path / "model.gud"
    gudlearn.save(gudlearn.LinearSchedule(), path)
    before = path.read_bytes()
    os.chmod(path, 0o640)

    def full(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            gudlearn.save(gudlearn.CosineSchedule(), path)
    with pytest.raises(TypeError, match="a file without code"):
        gudlearn.save(gudlearn.GUDGenerator(network=lambda n, m: None), path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
    gudlearn.save(gudlearn.CosineSchedule(), str(path))
    assert isinstance(gudlearn.load(str(path)), gudlearn.CosineSchedule)
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "model.gud")
    gudlearn.save(gudlearn.LinearSchedule(), tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "model.gud").is_file()


def test_files_hold_what_they_say(tmp_path):
    from safetensors.numpy import load

    model, _ = fitted("numbers")
    gudlearn.save(model, tmp_path / "model.gud")
    with zipfile.ZipFile(tmp_path / "model.gud") as archive:
        assert archive.namelist() == ["manifest.json", "model.json", "arrays.safetensors"]
        weights = load(archive.read("arrays.safetensors"))
        data = archive.read("manifest.json") + archive.read("model.json")
    for name, value in model.weights_.items():
        np.testing.assert_array_equal(weights[f"state_/weights/{name}"], value)
    assert b"pickle" not in data and gudlearn.__version__.encode() in data


def test_versions_are_shown(capsys):
    gudlearn.show_versions()
    text = capsys.readouterr().out
    assert f"gudlearn: {gudlearn.__version__}" in text and f"torch: {torch.__version__}" in text
    assert _versions.installed_version("no-such-package") is None
