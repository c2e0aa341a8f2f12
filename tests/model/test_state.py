"""The frozen state of a fitted generator, and the attributes that read from it."""

import copy
import pickle
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from gudlearn import LinearSchedule, SequentialSchedule, SoftConditioningSchedule
from gudlearn.model.state import History, TimeWeights
from gudlearn.training.loop import Log
from small import continuous, small

X = continuous()


@pytest.fixture(scope="module")
def fitted():
    return small(max_iter=3).fit(X)


def density(gen):
    """The relative heights from which scores draw times now."""
    return gen.state_.time_weights.under(gen.state_.schedule).weights


def test_times_are_drawn_by_their_density_under_the_schedule_of_the_fit_only(fitted):
    gen = copy.copy(fitted)
    measured = gen.time_weights_
    assert np.ptp(measured) > 0 and np.array_equal(density(gen), measured)
    gen.schedule_ = LinearSchedule()
    assert np.ptp(density(gen)) == 0
    assert np.array_equal(gen.time_weights_, measured)
    gen.schedule_ = fitted.schedule_
    assert np.array_equal(density(gen), measured)


def test_a_schedule_changed_in_place_has_no_measured_density():
    gen = small(schedule=SoftConditioningSchedule(softness=2.0)).fit(X)
    assert np.ptp(density(gen)) > 0
    gen.schedule_.set_params(softness=0.5)
    assert np.ptp(density(gen)) == 0


def test_the_density_survives_pickling_and_copies(fitted):
    for other in (pickle.loads(pickle.dumps(fitted)), copy.deepcopy(fitted)):
        assert np.array_equal(density(other), density(fitted))
        assert other.score(X) == fitted.score(X)


def test_a_score_is_the_same_whatever_density_times_are_drawn_from(fitted):
    uniform = copy.copy(fitted)
    uniform.state_ = replace(fitted.state_, time_weights=TimeWeights(np.ones(32)))
    difference = uniform.score_samples(X) - fitted.score_samples(X)
    # Both are estimates of one bound.
    assert abs(difference.mean()) < 5 * difference.std() / len(X) ** 0.5


def test_setting_a_schedule_leaves_copies_of_the_estimator_alone(fitted):
    other = copy.copy(fitted)
    other.schedule_ = SequentialSchedule()
    assert isinstance(fitted.schedule_, LinearSchedule)
    assert other.state_ is not fitted.state_ and other.weights_ is fitted.weights_


def test_an_unfitted_generator_has_no_learned_attribute_and_takes_no_schedule():
    gen = small()
    for name in ("weights_", "schedule_", "classes_", "n_iter_", "sample_shape_"):
        assert not hasattr(gen, name)
    with pytest.raises(NotFittedError):
        gen.schedule_ = LinearSchedule()


def test_classes_are_learned_with_labels_only(fitted):
    assert not hasattr(fitted, "classes_") and not hasattr(fitted, "class_prior_")
    gen = small(class_conditional=True).fit(X, np.arange(len(X)) % 2)
    assert gen.classes_.tolist() == [0, 1] and np.allclose(gen.class_prior_, 0.5)


def test_a_failed_fit_leaves_the_state_alone(fitted):
    gen = copy.copy(fitted)
    with pytest.raises(ValueError, match="infinity"):
        gen.fit(np.where(X == X[0, 0], np.inf, X))
    assert gen.state_ is fitted.state_


def test_a_history_adds_up():
    first = History().then(Log([1.0, 2.0], [-3.0, -1.0], [0, 2], best_score=-1.0))
    assert first == first and first.n_epochs == 2
    second = first.then(Log([0.5], [], []))
    assert second.losses == [1.0, 2.0, 0.5] and second.best_score == -1.0
    third = second.then(Log([0.5], [-0.5], [1], best_score=-0.5))
    assert third.validation_epochs == [0, 2, 4] and third.best_score == -0.5
    assert first.losses == [1.0, 2.0]
    with pytest.raises(FrozenInstanceError):
        first.n_epochs = 3


def test_tools_around_a_generator_answer_as_it_does(fitted):
    from gudlearn.data.rows import Rows

    rows = Rows.of(X)
    assert np.array_equal(fitted.scoring().rows(rows), fitted.score_samples(X))
    assert np.array_equal(fitted.sampling().draw(5, None, 1.0, 0), fitted.sample(5, random_state=0))
    assert np.array_equal(fitted.fitted_model().log_likelihood(rows), fitted.score_samples(X))


def test_a_reference_has_a_row_for_each_row_that_is_scored():
    gen = small(retrieval=20).fit(X)
    with pytest.raises(ValueError, match="reference has 3 rows, but X has 40"):
        gen.score_samples_leave_one_out(X, X[:3])
