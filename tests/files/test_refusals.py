"""Files that are no models, are damaged or hostile are refused in one sentence."""

import importlib
import io
import json
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import gudlearn
from gudlearn.files import steps
from gudlearn.io import ModelFileError
from saved import fitted

BENCHMARKS = Path(__file__).parents[2] / "examples" / "benchmarks"
with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(BENCHMARKS)
    damage = importlib.import_module("_damage")
    damaged_files = importlib.import_module("damaged_files")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Bytes of the file of a model, by the name of the model."""
    folder, found = tmp_path_factory.mktemp("saved"), {}

    def data(name):
        if name not in found:
            gudlearn.save(fitted(name)[0], folder / "model.gud")
            found[name] = (folder / "model.gud").read_bytes()
        return found[name]

    return data


@pytest.fixture
def refused(tmp_path):
    """Checks that bytes are refused, for a reason."""

    def check(data, match, **options):
        path = tmp_path / "model.gud"
        path.write_bytes(data)
        with pytest.raises(ModelFileError, match=match) as caught:
            gudlearn.load(path, **options)
        # One sentence, which names the file.
        assert "model.gud' cannot be loaded: " in str(caught.value)
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 800

    return check


def manifest_with(data, **changes):
    members = damage.members_of(data)
    manifest = {**json.loads(members["manifest.json"]), **changes}
    return damage.file_of({**members, "manifest.json": json.dumps(manifest).encode()})


def tree_with(data, change):
    """The file whose tree a function has changed, with its hash."""
    members = damage.members_of(data)
    tree = json.loads(members["model.json"])
    changed = change(tree)
    members["model.json"] = json.dumps(tree if changed is None else changed).encode()
    return damage.with_hashes(members)


def node(tree, kind):
    """Attributes of the last object of a type."""
    return [n["fields"] for n in tree["objects"] if n.get("object") == kind][-1]


def test_a_newer_schema_is_refused_with_the_version_to_install(saved, refused):
    data = manifest_with(saved("numbers"), schema=2, versions={"gudlearn": "9.1"})
    refused(data, "schema 2 is newer than 1.*install gudlearn 9.1 or later")


def test_no_model_is_refused(refused, saved):
    refused(b"", "no zip file")
    refused(b"PK", "no zip file")
    refused(damage.file_of({"a": b"b"}), "no manifest, so it is no model")
    refused(manifest_with(saved("numbers"), format="x"), "not that of a model of gudlearn")
    refused(manifest_with(saved("numbers"), kind="GUDImputer"), "a GUDGenerator, not a GUDImputer")


def test_altered_members_are_refused(refused, saved):
    data = saved("numbers")
    refused(data[: len(data) // 2], "no zip file, or damaged")
    members = damage.members_of(data)
    changed = members["model.json"].replace(b'"max_iter":1', b'"max_iter":2')
    refused(damage.file_of({**members, "model.json": changed}), "model.json was altered")
    refused(damage.file_of({**members, "more": b""}), "not those that its manifest names")
    del members["arrays.safetensors"]
    refused(damage.file_of(members), "not those that its manifest names")


def test_a_zip_bomb_is_refused_before_it_is_read(refused, saved, monkeypatch):
    members = damage.members_of(saved("numbers"))
    bomb = damage.file_of({**members, "model.json": bytes(2**24)}, zipfile.ZIP_DEFLATED)
    assert len(bomb) < 2**17
    monkeypatch.setattr(zipfile.ZipFile, "read", None)
    refused(bomb, "compressed, or longer than the file")
    # Members that are compressed, in a file that is long enough for them.
    refused(bytes(2**25) + bomb, "compressed, or longer than the file")


def test_unknown_types_and_attributes_are_refused(refused, saved):
    def unknown(tree):
        tree["objects"][-1]["object"] = "Popen"

    def attribute(tree):
        node(tree, "GUDGenerator")["__class__"] = 1

    def missing(tree):
        del node(tree, "ModelState")["weights"]

    def kind(tree):
        node(tree, "History")["n_epochs"] = "three"

    def wrong_object(tree):
        node(tree, "ModelState")["encoding"] = node(tree, "ModelState")["time_weights"]

    data = saved("numbers")
    refused(tree_with(data, unknown), "the type 'Popen' is not one of this version")
    refused(tree_with(data, attribute), "a GUDGenerator has no attribute '__class__'")
    refused(tree_with(data, missing), "a ModelState has no 'weights'")
    refused(tree_with(data, kind), "History.n_epochs is a str")
    refused(tree_with(data, wrong_object), "ModelState.encoding is a TimeWeights")


def test_shapes_that_do_not_go_together_are_refused(refused, saved):
    def transposed(tree):
        weights = node(tree, "ModelState")["weights"]["dict"]
        first = [value for name, value in weights if name == "first.weight"][0]
        tree["objects"][first["ref"]]["order"] = "F"

    refused(tree_with(saved("numbers"), transposed), "first.weight")
    for name, value in (("width", 2**40), ("n_blocks", 10**9), ("n_frequencies", 10**9)):

        def larger(tree, name=name, value=value):
            for part in tree["objects"]:
                if part.get("object") == "MLP":
                    part["fields"][name] = value

        refused(tree_with(saved("numbers"), larger), "a MLP of these parameters has more than")


@pytest.mark.parametrize("name", ["images", "images, transformer"])
def test_networks_larger_than_their_weights_are_refused(name, refused, saved):
    for parameter, value in (("width", 2**40), ("n_blocks", 10**9), ("patch_size", 10**6)):

        def larger(tree, parameter=parameter, value=value):
            for part in tree["objects"]:
                if part.get("object") in ("UNet", "Transformer"):
                    part["fields"][parameter] = value

        refused(tree_with(saved(name), larger), "of these parameters has more than")


def test_hostile_json_is_refused(refused, saved):
    members = damage.members_of(saved("basis PCABasis(whiten=0.5)"))

    def with_text(text):
        return damage.with_hashes({**members, "model.json": text})

    refused(with_text(b'{"root":NaN,"objects":[]}'), "NaN is no number of JSON")
    refused(with_text(b'{"root":1e999,"objects":[]}'), "1e999 is no finite number")
    refused(with_text(b'{"root":1,"root":1,"objects":[]}'), "a key stands twice")
    refused(with_text(b"[" * 10**6), "RecursionError")
    refused(with_text(b'{"root":{"ref":0},"objects":[]}'), "object 0 leads nowhere")
    refused(with_text(b'{"root":{"type":"GUDGenerator"},"objects":[]}'), "part of nothing")


def test_objects_that_double_again_and_again_are_refused(refused, saved):
    def doubling(tree):
        n = len(tree["objects"])
        for k in range(40):
            ref = {"ref": n + k - 1} if k else 1
            tree["objects"].append({"objects": [ref, ref], "shape": [2]})
        tree["root"] = {"ref": n + 39}

    refused(tree_with(saved("numbers"), doubling), "hold each other too often")


def test_places_in_buffers_of_random_states_are_checked(refused, tmp_path):
    gen = gudlearn.GUDGenerator(random_state=np.random.RandomState(0))
    gudlearn.save(gen, tmp_path / "random.gud")

    def beyond(tree):
        state = node(tree, "GUDGenerator")["random_state"]["random_state"][1]["state"]
        state["pos"] = 2**40

    refused(tree_with((tmp_path / "random.gud").read_bytes(), beyond), "no place in a buffer")


@pytest.mark.parametrize("name", ["dateutil/passwd", "/etc/passwd", "../etc/passwd", "Europe//"])
def test_time_zones_are_no_paths(name, refused, saved):
    def path(tree):
        return json.loads(json.dumps(tree).replace('"Europe/Paris"', json.dumps(name)))

    refused(tree_with(saved("mixed frame"), path), f"'{name}' is no time zone")


def test_booleans_and_texts_have_valid_bytes(refused, saved):
    members = damage.members_of(saved("basis PCABasis(whiten=0.5)"))
    data = bytearray(members["arrays.safetensors"])
    (length,) = struct.unpack("<Q", data[:8])
    start, stop = json.loads(data[8 : 8 + length])["dead_"]["data_offsets"]
    data[8 + length + start : 8 + length + stop] = b"\2" * (stop - start)
    members["arrays.safetensors"] = bytes(data)
    refused(damage.with_hashes(members), "a boolean is neither 0 nor 1")

    def beyond(tree):
        tree["objects"].append({"array": "text", "dtype": "<U1", "shape": [1]})

    from gudlearn.storage import arrays

    text = {"text": np.frombuffer(b"\0\0\x11\0", np.uint8)}
    members["arrays.safetensors"] = arrays.dumps(text)
    members["model.json"] = json.dumps(
        {"root": {"ref": 0}, "objects": [{"array": "text", "dtype": "<U1", "shape": [1]}]}
    ).encode()
    refused(damage.with_hashes(members), "no character")


def test_parts_of_your_own_are_refused_with_what_to_do(tmp_path):
    class Own(gudlearn.LinearSchedule):
        pass

    path = tmp_path / "model.gud"
    with pytest.raises(TypeError, match="schedule is a Own, .* saved by pickle or joblib"):
        gudlearn.save(gudlearn.GUDGenerator(schedule=Own()), path)
    with pytest.raises(TypeError, match="model is a Own, .* pickle or joblib"):
        gudlearn.save(Own(), path)
    with pytest.raises(TypeError, match="model is a dict"):
        gudlearn.save({}, path)
    with pytest.raises(TypeError, match="network is a function"):
        gudlearn.save(gudlearn.GUDGenerator(network=lambda n, m: None), path)
    gen = gudlearn.GUDGenerator()
    gen.note = 1
    with pytest.raises(TypeError, match="'note', which is no attribute of its own"):
        gudlearn.save(gen, path)
    assert not path.exists()


def test_paths_and_trusted_types_are_checked(tmp_path):
    with pytest.raises(TypeError, match="path=3 must be the name of a file"):
        gudlearn.save(gudlearn.LinearSchedule(), 3)
    with pytest.raises(TypeError, match="path=None must be"):
        gudlearn.load(None)
    with pytest.raises(TypeError, match="trusted='x' must be a list"):
        gudlearn.load(tmp_path / "model.gud", trusted="x")
    with pytest.raises(FileNotFoundError):
        gudlearn.load(tmp_path / "model.gud")
    with pytest.raises(FileNotFoundError):
        gudlearn.save(gudlearn.LinearSchedule(), tmp_path / "none" / "model.gud")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        gudlearn.save(gudlearn.LinearSchedule(), tmp_path)


def test_types_that_skops_does_not_trust_are_named(tmp_path, refused):
    pytest.importorskip("skops")
    from sklearn.preprocessing import FunctionTransformer

    path = tmp_path / "pipeline.gud"
    step = FunctionTransformer(json.dumps)
    gudlearn.save(gudlearn.GenerativePipeline([("f", step), ("g", gudlearn.GUDGenerator())]), path)
    refused(path.read_bytes(), r"not trusted: json.dumps\. Pass trusted=\[\.\.\.\]")
    loaded = gudlearn.load(path, trusted=["json.dumps"])
    assert loaded[0].func is json.dumps


def test_without_skops_the_extra_is_named(tmp_path, refused, saved, monkeypatch):
    data = saved("pipeline")
    monkeypatch.setattr(steps, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'gudlearn\[files\]'"):
        gudlearn.save(fitted("pipeline")[0], tmp_path / "model.gud")
    refused(data, r"install it with pip install 'gudlearn\[files\]'")


def test_a_bomb_inside_a_step_is_refused(refused, saved):
    pytest.importorskip("skops")
    members = damage.members_of(saved("pipeline"))
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", bytes(2**20))
    members["sklearn/0.skops"] = inner.getvalue()
    refused(damage.with_hashes(members), "larger than its bytes")


def test_nothing_outside_is_imported_by_a_name_in_a_file(refused, saved):
    def module(tree):
        node(tree, "GUDGenerator")["schema"] = {"type": "antigravity.Popen"}

    refused(tree_with(saved("numbers"), module), "the type 'antigravity.Popen'")
    assert "antigravity" not in sys.modules


def test_damaged_files_are_refused_or_loaded_right(saved, tmp_path):
    names = ["numbers", "mixed frame", "classifier", "outliers", "basis PCABasis(whiten=0.5)"]
    found = damaged_files.run([saved(name) for name in names], 300, tmp_path, seed=0)
    assert [line for line in found if line["outcome"] not in ("refused", "loaded")] == []
    by_way = {line["way"] for line in found if line["outcome"] == "refused"}
    assert by_way == {way.__name__ for way in damage.BY_CHANCE + damage.BY_INTENT}
    assert max(line["seconds"] for line in found) < 10


def test_the_benchmark_prints_a_line_for_each_way_of_damage(monkeypatch, capsys):
    few = [fitted("numbers")[0], fitted("basis PCABasis(whiten=0.5)")[0]]
    monkeypatch.setattr(damaged_files, "models", lambda: few)
    monkeypatch.setattr(sys, "argv", ["damaged_files.py", "--files", "24"])
    assert damaged_files.main() == 0
    *ways, last = map(json.loads, capsys.readouterr().out.splitlines())
    assert len(ways) == len(damage.BY_CHANCE + damage.BY_INTENT)
    assert last["refused"] + last.get("loaded", 0) == last["files"] == 24


def test_a_load_that_is_wrong_would_be_found(saved, tmp_path):
    def other(data, rng, foreign):
        return foreign

    models = [saved("numbers"), saved("basis PCABasis(whiten=0.5)")]
    check = damaged_files.Checker(tmp_path)
    assert check(other, models[0], models[1], rng=None)["outcome"].startswith("wrong")
