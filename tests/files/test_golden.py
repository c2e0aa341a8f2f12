"""Files that earlier versions have written are read, and compute what they did."""

import json
from pathlib import Path

import numpy as np
import pytest

import gudlearn
from gudlearn import _random
from gudlearn.storage.archive import SCHEMA
from saved import golden_rows

FOLDER = Path(__file__).parent / "golden"


@pytest.mark.parametrize("schema", range(1, SCHEMA + 1))
def test_golden_files_of_every_schema_are_read(schema, monkeypatch):
    # Of the noise in scores.
    monkeypatch.setattr(_random, "SALT", 0)
    expected = json.loads((FOLDER / f"schema_{schema}.json").read_text(encoding="utf-8"))
    frame = golden_rows()

    def model(name):
        return gudlearn.load(FOLDER / f"schema_{schema}_{name}.gud")

    # Machines differ by rounding, of float32 in the network.
    scores = model("generator").score_samples(frame)
    np.testing.assert_allclose(scores, expected["scores"], atol=1e-3)
    p = model("classifier").predict_proba(frame[["age", "city"]])
    np.testing.assert_allclose(p, expected["probabilities"], atol=1e-4)
    Z = model("basis").transform(np.eye(3))
    np.testing.assert_allclose(Z, expected["components"], atol=1e-12)
    drawn = model("generator").sample(2)
    assert list(drawn) == list(frame) and drawn["seen"].dt.tz.key == "Europe/Paris"


def test_golden_files_are_small():
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 100_000
