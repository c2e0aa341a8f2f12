"""Write the golden files of the present schema: run once for each, from the root of the repository.

    PYTHONPATH=.:tests python tests/files/make_golden.py

A golden file is never written again. It is what users have on their disks, and later versions must
read it.
"""

import json
from pathlib import Path

import numpy as np

import gudlearn
from gudlearn.storage.archive import SCHEMA
from saved import golden_rows, mixed
from small import small

FOLDER = Path(__file__).parent / "golden"


def models():
    """Fitted models by name."""
    frame = mixed(n=60)[golden_rows().columns]
    network = gudlearn.MLP(width=8, n_blocks=1, dropout=0.0)
    generator = small(network=network, max_iter=3, conditional_rate=0.3)
    classified = small(network=network, max_iter=60, learning_rate_init=0.02)
    age_class = np.where(frame["age"] > 45, "old", "young")
    return {
        "generator": generator.fit(frame),
        "classifier": gudlearn.GUDClassifier(classified).fit(frame[["age", "city"]], age_class),
        "basis": gudlearn.PCABasis().fit(np.random.default_rng(0).normal(size=(9, 3))),
    }


def main():
    """Write files and what their models compute."""
    FOLDER.mkdir(exist_ok=True)
    found, frame = models(), golden_rows()
    for name, model in found.items():
        gudlearn.save(model, FOLDER / f"schema_{SCHEMA}_{name}.gud")
    expected = {
        "scores": found["generator"].score_samples(frame).tolist(),
        "probabilities": found["classifier"].predict_proba(frame[["age", "city"]]).tolist(),
        "components": found["basis"].transform(np.eye(3)).tolist(),
    }
    text = json.dumps(expected, indent=1)
    (FOLDER / f"schema_{SCHEMA}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
