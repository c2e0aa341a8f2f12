"""
Schedules and softness
======================

A schedule sets how the signal-to-noise ratio of each component falls from data (t = 0) to noise
(t = 1). Sampling runs it backwards: the components that lose their signal first regain it last.

Nothing is trained on this page.
"""

# %%
# Softness
# --------
# Eight components with variances that decrease like those of natural images. ``softness`` moves
# between three ways to generate them:
#
# - infinity: all components at once, on one curve;
# - 1: ordinary diffusion with white noise in the units of the data, where strong components emerge
#   from the noise before weak ones;
# - towards 0: one component after another, each starting when the one before it is finished.
import matplotlib.pyplot as plt
import numpy as np

from gudlearn import (
    CosineSchedule,
    LinearSchedule,
    ScheduleDisplay,
    SequentialSchedule,
    SoftConditioningSchedule,
    VPSchedule,
)

variances = 100.0 / np.arange(1, 9) ** 2

figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), sharey=True, layout="constrained")
for ax, softness in zip(axes, [np.inf, 1.0, 0.02], strict=True):
    schedule = SoftConditioningSchedule(softness=softness)
    ScheduleDisplay.from_schedule(schedule, variances, ax=ax, name=f"softness = {softness:g}")
    ax.get_legend().set_visible(np.isinf(softness))
    ax.label_outer()

# %%
# One after another
# -----------------
# ``SequentialSchedule`` ignores the variances. Its components, or groups of them, are generated in
# the given order, ``window`` of them at a time. With ``window=1`` this is autoregression.
figure, axes = plt.subplots(1, 2, figsize=(8, 3.4), sharey=True, layout="constrained")
for ax, window in zip(axes, [1, 3], strict=True):
    ScheduleDisplay.from_schedule(
        SequentialSchedule(window=window),
        np.ones(8),
        order=np.arange(8),
        ax=ax,
        name=f"window = {window}",
    )
    ax.get_legend().set_visible(False)
    ax.label_outer()

# %%
# The same curve for all
# ----------------------
# The classical schedules differ only in how long they stay at each noise level. The end points
# belong to the data, so all schedules start and end at the same noise levels, and their scores can
# be compared.
figure, ax = plt.subplots(figsize=(6, 3.8), layout="constrained")
colors = ["#0072b2", "#d55e00", "#009e73"]
for schedule, color in zip([LinearSchedule(), CosineSchedule(), VPSchedule()], colors, strict=True):
    display = ScheduleDisplay.from_schedule(schedule, [1.0], ax=ax, color=color)
    display.lines_[0].set_label(repr(schedule))
ax.legend(frameon=False)
ax.set_title("Common schedules")
