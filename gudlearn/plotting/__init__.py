"""Displays of schedules, samples and training, with the interface of scikit-learn's displays.

A display holds data only. ``from_estimator`` and ``from_samples`` compute the data and draw them;
``plot`` draws the same data again, on any axes. Matplotlib is imported when something is drawn.
"""

from gudlearn.plotting.conditional import ConditionalDisplay
from gudlearn.plotting.diagnosis import DiagnosisDisplay
from gudlearn.plotting.loss_curve import LossCurveDisplay
from gudlearn.plotting.marginals import MarginalsDisplay
from gudlearn.plotting.pairs import PairDependenceDisplay
from gudlearn.plotting.power_spectrum import PowerSpectrumDisplay
from gudlearn.plotting.sample_grid import SampleGridDisplay
from gudlearn.plotting.schedule import ScheduleDisplay
from gudlearn.plotting.softness import SoftnessDisplay
from gudlearn.plotting.sweep import SweepDisplay
from gudlearn.plotting.trajectory import ReverseTrajectoryDisplay

__all__ = [
    "ConditionalDisplay",
    "DiagnosisDisplay",
    "LossCurveDisplay",
    "MarginalsDisplay",
    "PairDependenceDisplay",
    "PowerSpectrumDisplay",
    "ReverseTrajectoryDisplay",
    "SampleGridDisplay",
    "ScheduleDisplay",
    "SoftnessDisplay",
    "SweepDisplay",
]
