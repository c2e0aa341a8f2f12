"""One column given what is observed of the others."""

import numpy as np
import pandas as pd
import torch

from gudlearn.data.frames import read_table
from gudlearn.model.condition import Condition
from small import continuous, small


def frame(n=40):
    X = continuous(n)
    kind = np.where(X[:, 0] > 0, "u", "v")
    return pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "c": kind, "kind": kind})


def test_what_is_not_observed_is_missing_and_the_target_masked():
    model = small(conditional_rate=0.5).fit(frame()).fitted_model().components
    states = []

    class Recorded:
        def __call__(self, x, gamma):
            states.append((x.clone(), gamma.clone()))
            return model.denoiser(x, gamma)

    model.labelled = lambda labels: Recorded()
    z = torch.tensor([[0.7, -0.3, 1.0, 0.0], [0.7, -0.3, 1.0, 0.0]]).double()
    target = torch.tensor([False, False, False, True])
    observed = torch.tensor([[True, True, True, False], [True, False, False, False]])
    p = Condition(model, z, observed, target).level_probabilities()
    assert p.shape == (2, 4)
    ((x, gamma),) = states
    low, high = model.path.gamma_0, model.path.gamma_1
    torch.testing.assert_close(gamma[:, 3], high[3].expand(2))
    torch.testing.assert_close(gamma[0, :3], low[:3])
    torch.testing.assert_close(gamma[1, 0], low[0])
    assert (gamma[1, 1:3] >= high[1:3] + 2).all()
    # Observed numbers without noise, codes as they are, and nothing of what is missing.
    scale = torch.sigmoid(-low[:2]).sqrt()
    torch.testing.assert_close(x[0, :3], torch.cat([scale * z[0, :2], z[0, 2:3]]))
    assert (x[:, 3] == 0).all() and x[1, 2] == 0


def test_rows_are_read_in_any_state():
    X = frame().assign(b=np.arange(40))
    prediction = small(conditional_rate=0.5).fit(X).prediction("kind")
    table = pd.DataFrame({"a": [0.1, np.nan], "b": [3.4, 5.0], "c": ["new", None], "kind": None})
    rows = prediction.read(read_table(table))
    # A whole number is rounded; a level that was never seen has a code of its own.
    np.testing.assert_array_equal(rows.values, [[0.1, 3, 2, np.nan], [np.nan, 5, np.nan, np.nan]])
    p = prediction.probabilities(rows)
    assert prediction.levels.tolist() == ["u", "v"]
    np.testing.assert_allclose(p.sum(1), 1)


def test_a_column_of_one_level_is_certain():
    X = frame().assign(kind="u")
    prediction = small(conditional_rate=0.5).fit(X).prediction("kind")
    rows = prediction.read(read_table(X[:3]))
    np.testing.assert_array_equal(prediction.probabilities(rows), np.ones((3, 1)))


def test_values_and_components_are_inverse_and_increasing():
    X = pd.DataFrame({"a": np.exp(continuous(300)[:, 0]), "b": continuous(300)[:, 1]})
    gen = small(max_iter=0).fit(X)
    assert gen.state_.encoding.warp is not None
    for name in X:
        column_map = gen.prediction(name).column_map()
        values = np.sort(X[name].to_numpy())
        z, log_slope = column_map.forward(values)
        assert (np.diff(z) > 0).all()
        np.testing.assert_allclose(column_map.inverse(z), values, rtol=1e-6)
        step = 1e-6
        slope = (column_map.forward(values + step)[0] - column_map.forward(values - step)[0]) / 2
        np.testing.assert_allclose(np.log(slope / step), log_slope, atol=1e-3)
        # Those of the encoding.
        rows = gen.state_.container.read(X.sort_values(name))
        z_all = gen.state_.encoding.encode(rows, rows, None)
        np.testing.assert_allclose(z_all[:, list(X).index(name)], z, rtol=1e-6, atol=1e-9)
