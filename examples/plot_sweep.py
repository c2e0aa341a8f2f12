"""
Many schedules from one fit
===========================

A grid search fits a model for each schedule. But the network sees noise levels and never the
schedule, so one network can be trained for a whole family of schedules, and scored under each of
them in a fraction of the time.
"""

# %%
# One fit for a family
# --------------------
# The data are digits of 4 x 4 pixels. ``schedule_family`` says which schedules: here softness from
# 0.05, where principal components are generated nearly one after another, to 3, where all are
# generated together. Every group of rows of every batch follows a schedule of its own.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from gudlearn import (
    GUDGenerator,
    ScheduleDisplay,
    SoftConditioningSchedule,
    SweepDisplay,
    Training,
)

X = load_digits().images.reshape(-1, 4, 2, 4, 2).sum((2, 4)).reshape(-1, 16)
X_train, X_val = train_test_split(X, test_size=0.1, random_state=0)
gen = GUDGenerator(
    basis="pca",
    schedule=SoftConditioningSchedule(softness=1.0),
    training=Training(schedule_family={"softness": (0.05, 3.0)}),
    bin_width=1.0,
    max_iter=100,
    random_state=0,
).fit(X_train)

figure, axes = plt.subplots(1, 3, figsize=(11, 3.2), sharey=True, layout="constrained")
for ax, softness in zip(axes, [0.05, 0.4, 3.0], strict=True):
    ScheduleDisplay.from_schedule(
        SoftConditioningSchedule(softness=softness),
        gen.basis_.component_variances_[[0, 3, 8, 15]],
        names=["component 1", "4", "9", "16"],
        ax=ax,
        name=f"softness {softness:g}",
    )
    ax.get_legend().set_visible(softness == 3.0)
    ax.label_outer()

# %%
# The sweep
# ---------
# All schedules are scored on the same rows with the same noise, so their differences are known far
# better than the scores themselves. ``spread`` says how far the bounds of single rows depend on the
# path: for the exact denoiser of some distribution they would not.
grid = {"schedule__softness": np.geomspace(0.05, 3, 5).round(2).tolist()}
rows = X_val[:100]
sweep = gen.sweep(rows, grid)
print(sweep.results.drop(columns="schedule").round(3).to_string(index=False))

# %%
# A network that serves all of them has nearly the same bound everywhere. To tell which schedule a
# fit of its own would like, each can be trained for a few epochs by itself before it is scored, and
# the best is fitted further with ``refine=True``.
adapted = gen.sweep(rows, grid, X_train=X_train, adapt_iter="auto", refine=True)
best = adapted.best_estimator
print(adapted.best_params, f"{best.bits_per_dim(rows):.3f} bits/dim")

figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), sharey=True, layout="constrained")
SweepDisplay.from_results(sweep, ax=axes[0], name="as the family was trained")
SweepDisplay.from_results(adapted, ax=axes[1], name="after a little training each")
plt.show()
