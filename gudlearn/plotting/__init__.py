"""Pictures of schedules, samples and training, in scikit-learn's Display manner.

A display holds data only. ``from_estimator`` and ``from_samples`` compute the data and draw;
``plot`` draws the same data again, anywhere. Matplotlib is imported when something is drawn.
"""

from gudlearn.plotting._conditional import ConditionalDisplay
from gudlearn.plotting._loss_curve import LossCurveDisplay
from gudlearn.plotting._marginals import MarginalsDisplay
from gudlearn.plotting._power_spectrum import PowerSpectrumDisplay
from gudlearn.plotting._sample_grid import SampleGridDisplay
from gudlearn.plotting._schedule import ScheduleDisplay
from gudlearn.plotting._softness import SoftnessDisplay
from gudlearn.plotting._trajectory import ReverseTrajectoryDisplay

__all__ = [
    "ConditionalDisplay",
    "LossCurveDisplay",
    "MarginalsDisplay",
    "PowerSpectrumDisplay",
    "ReverseTrajectoryDisplay",
    "SampleGridDisplay",
    "ScheduleDisplay",
    "SoftnessDisplay",
]
