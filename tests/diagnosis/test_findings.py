"""Curves and figures, and the sentences that are said of them."""

import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from gudlearn import MLP, GUDGenerator
from gudlearn.diagnosis import findings
from gudlearn.diagnosis.advice import Advice
from gudlearn.diagnosis.curves import Curves, judge_curves
from small import continuous, small

EPOCHS = list(range(0, 301, 10))
AT = np.array(EPOCHS) / 300
CURVES = {
    "converged": -1 - 0.5 * np.exp(-8 * AT),
    "too short": -2 + 0.8 * AT,
    "overfitting": -1 - 0.5 * np.exp(-20 * AT) - 0.6 * np.maximum(AT - 0.3, 0),
    "start kept": -1 - 0.3 * AT,
}


def judged(name, noise=0.0, seed=0):
    scores = CURVES[name] + noise * np.random.default_rng(seed).normal(size=len(AT))
    return judge_curves([1.0] * 300, scores.tolist(), EPOCHS)


@pytest.mark.parametrize("noise", [0.0, 0.01])
@pytest.mark.parametrize("name", CURVES)
def test_curves_are_judged_by_their_shape(name, noise):
    curves = judged(name, noise)
    assert curves.verdict == name and curves.n_epochs == 300
    if name == "overfitting":
        assert curves.best_epoch == pytest.approx(75, abs=30)
        assert curves.fall == pytest.approx(0.42 - 0.02, abs=0.06)
    if name == "too short":
        assert curves.gain == pytest.approx(0.8, abs=0.05)
        assert curves.late_gain == pytest.approx(0.8 / 3, abs=0.05)


def test_few_evaluations_are_enough():
    # Of a fit of 50 epochs.
    curves = judge_curves([1.0] * 50, [-3.225, -3.115, -3.096, -3.086], [0, 25, 38, 50])
    assert curves.verdict == "too short" and curves.late_gain == pytest.approx(0.029)
    assert judge_curves([1.0] * 50, [-3.225, -3.1, -3.1, -3.098], EPOCHS[:4]).verdict == "converged"


def test_the_weights_that_were_kept_count():
    scores = [-2.0, -1.0, -1.1, -1.0, -1.5, -1.6]
    curves = judge_curves([1.0] * 50, scores, [0, 10, 20, 30, 40, 50], -2.0)
    assert curves.verdict == "start kept" and curves.best_epoch == 0
    # A continued fit may have scored the same weights twice.
    assert judge_curves([1.0] * 50, scores, [0, 10, 20, 30, 40, 50], -1.0).best_epoch == 30


def test_without_curves_nothing_is_judged():
    assert judge_curves([], [-1.0], [0]).verdict == "untrained"
    assert judge_curves([1.0] * 40, [], []).verdict == "unvalidated"
    assert judge_curves([1.0], [-1.0, np.nan, -1.0, -2.0], [0, 1, 2, 3]).verdict == "unvalidated"
    few = judge_curves([3.0, 2.0, 1.0], [], [])
    assert few.final_loss == 1 and np.isnan(few.final_loss_std_error)
    many = judge_curves([5.0] * 36 + [1.0, 2.0, 1.0, 2.0], [], [])
    assert many.final_loss == 1.5 and many.final_loss_std_error == pytest.approx(3**-0.5 / 2)


@pytest.fixture(scope="module")
def gen():
    return small().fit(continuous())


SENTENCES = {
    "untrained": "untrained.*Try max_iter=100",
    "start kept": "did not improve on the closed-form start.*network__dropout=0.2",
    "too short": r"too short \(underfitting\).*still rose by 0.267 nats.*Try max_iter=100",
    "overfitting": r"overfits.*best after 90 of 300.*network__dropout=0.2, max_iter=108, or early",
}


@pytest.mark.parametrize("name", [*SENTENCES, "converged", "unvalidated"])
def test_each_verdict_has_its_sentence(gen, name):
    curves = judged(name) if name in CURVES else Curves(name, 0)
    found = list(findings.of_training(curves, 3, Advice(gen)))
    if name not in SENTENCES:
        assert found == []
        return
    (finding,) = found
    assert re.search(SENTENCES[name], finding.text)


def test_advice_goes_on_from_the_parameters_of_the_fit(gen):
    advice = Advice(gen)
    assert advice.longer() == "max_iter=100" and advice.start() == "mixture"
    assert advice.conditional_rate() == "conditional_rate=0.3"
    assert advice.closer(True) == "max_iter=100 or retrieval='auto' or conditional_rate=0.3"
    assert advice.closer(False) == "max_iter=100 or retrieval='auto'"
    state = SimpleNamespace(
        network="a callable", conditional_rate=0.9, history=SimpleNamespace(n_epochs=300),
        has_images=False,
    )  # fmt: skip
    other = SimpleNamespace(
        state_=state, max_time=5, preconditioning="mixture", uses_reference_set=True
    )
    advice = Advice(other)
    assert advice.longer() == advice.closer(True) == "max_time=10"
    assert advice.start() == "marginal" and advice.regularised() == "weight_decay=0.1"
    assert advice.wider("too short") == "max_time=10"
    state.network, other.max_time = MLP(dropout=0.2), None
    assert advice.wider("converged") == "network__dropout=0.4" and advice.longer() == "max_iter=600"


def test_what_is_advised_can_be_set():
    GUDGenerator(network="mlp").set_params(
        network__dropout=0.2, preconditioning="mixture", retrieval="auto", conditional_rate=0.6,
        max_iter=100, early_stopping=True, weight_decay=0.1,
    )  # fmt: skip


def bound(**values):
    base = {"mean": -10.0, "std_error": 0.1, "n_entries": 5.0}
    for name in ("held_out", "trained", "samples"):
        base[name] = values.get(name)
        base[f"{name}_std_error"] = 0.1
    return base


def test_test_rows_are_compared_with_those_of_the_fit(gen):
    advice = Advice(gen)
    for values in ({}, {"held_out": -9.6, "trained": -9.2}, {"held_out": -20.0, "trained": -20.0}):
        assert findings.of_test_rows(bound(**values), advice) == ([], False)
    (shift,), is_shifted = findings.of_test_rows(bound(held_out=-5.0, trained=-5.0), advice)
    assert is_shifted and shift.nats == pytest.approx(5)
    assert "1.00 nats per entry less likely (standard error 0.03)" in shift.text
    assert "another distribution" in shift.text
    (gap,), is_shifted = findings.of_test_rows(bound(held_out=-10.1, trained=-5.0), advice)
    assert not is_shifted and "remembers" in gap.text and "network__dropout=0.2" in gap.text


def test_test_rows_are_compared_with_draws(gen):
    def of(samples, verdict="converged"):
        found = findings.of_samples(bound(samples=samples), Advice(gen), verdict, False)
        return [finding.text for finding in found]

    assert of(None) == of(-10.3) == of(-9.7) == []
    assert "3.00 nats less likely" in of(-7.0)[0] and "too narrow" in of(-7.0)[0]
    assert "network__dropout" in of(-7.0)[0] and "max_iter" in of(-7.0, "too short")[0]
    assert "3.00 nats more likely" in of(-13.0)[0] and "too wide" in of(-13.0)[0]


def test_a_flow_that_differs_from_the_bound_is_said(gen):
    def of(size):
        flow = {"difference": size, "std_error": 0.1}
        return [f.text for f in findings.of_flow(flow, 5.0, Advice(gen))]

    assert list(findings.of_flow(None, 5.0, Advice(gen))) == of(0.45) == of(-0.45) == []
    assert "0.60 nats per row above the bound" in of(0.6)[0] and "scores are too low" in of(0.6)[0]
    assert "below" in of(-0.6)[0] and "preconditioning='mixture'" in of(-0.6)[0]


def paths(**bounds):
    table = pd.DataFrame({"bound": bounds}).rename(index=lambda name: name.replace("_", " "))
    table["difference"] = table["bound"].max() - table["bound"]
    return table.assign(std_error_difference=np.where(table["difference"] > 0, 0.1, 0.0))


def test_paths_that_disagree_are_said(gen):
    def of(**bounds):
        return [f.text for f in findings.of_paths(paths(own=-5.0, **bounds), 3.0, Advice(gen))]

    assert list(findings.of_paths(None, 3.0, Advice(gen))) == []
    assert of(Soft=-5.3, a_last_given_the_rest=-5.3) == []
    (text,) = of(Soft=-4.0)
    assert "'Soft'" in text and "1.00 nats per row better" in text and "schedule_=Soft" in text
    (text,) = of(a_first_then_the_rest=-4.0)
    assert "max_iter=100" in text and "schedule_=" not in text
    (text,) = of(Soft=-8.0, a_first_then_the_rest=-9.0)
    assert "4.00 nats per row worse" in text and "conditional_rate=0.3" in text
