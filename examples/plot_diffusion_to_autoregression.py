"""
From diffusion to autoregression
================================

Diffusion generates all components at once; autoregression generates one after another. Softness
lies between the two: it says how noisy a component still is when the next one starts. The network
sees the noise level of every component, so one fit covers the whole range, and this page goes from
one end to the other.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from gudlearn import DPMSolver, GUDGenerator, SequentialSchedule, SoftnessDisplay

X_train, X_test = train_test_split(load_digits().data, test_size=0.2, random_state=0)

# %%
# The schedules
# -------------
# The columns of a digit are generated from left to right. ``window`` columns are active at the same
# time: all eight, half of them, two, one. Dark is finished, white is noise.

column = np.tile(np.arange(8), 8)
windows = [np.inf, 4, 2, 1]
figure, axes = plt.subplots(1, 4, figsize=(12, 2.6), sharey=True, layout="constrained")
for ax, window in zip(axes, windows, strict=True):
    display = SoftnessDisplay.from_schedule(
        SequentialSchedule(window=window), np.ones(8), order=np.arange(8), ax=ax,
        names=[f"column {c}" for c in range(8)], name=f"window {window}",
    )  # fmt: skip
    display.colorbar_.remove()
    ax.label_outer()

# %%
# One fit
# -------
# ``conditional_rate`` sets how many training rows have noise levels that differ between components:
# some components are observed, missing, or generated one after another.

gen = GUDGenerator(
    bin_width=1.0, conditional_rate=0.5, sampler=DPMSolver(steps=64), max_time=10, random_state=0
).fit(X_train)

# %%
# How a sample emerges, under each schedule
# -----------------------------------------
# Each image is the expected digit given the current noisy state. At first it is an average of all
# digits. When all columns are active, the whole image becomes sharp at once; when they are
# sequential, the left is finished while the right is still undecided. The schedule is set after the
# fit.

figure, axes = plt.subplots(4, 9, figsize=(9, 4.4), layout="constrained")
for row, window in zip(axes, windows, strict=True):
    gen.schedule_ = SequentialSchedule(window=window, order=column)
    states = gen.sample_trajectory(1, n_states=9, random_state=2).denoised[:, 0]
    for ax, state in zip(row, states, strict=True):
        ax.imshow(state.reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
        ax.set(xticks=[], yticks=[])
    row[0].set_ylabel(f"window {window}", fontsize=8)

# %%
# What it costs
# -------------
# An exact denoiser has the same bound along every path. The differences here show how well this
# network knows the states of each path. At window 1 the sum over columns is the chain rule. Scores
# of sequential schedules need many noise levels, so a dozen digits have to do.

for window in windows:
    gen.schedule_ = SequentialSchedule(window=window, order=column)
    print(f"window {window:>3}: {gen.bits_per_dim(X_test[:12]):.3f} bits per pixel")

# %%
# Finished columns never change again: halfway through window 1 the left half of the state already
# has its final values, bit for bit.

gen.schedule_ = SequentialSchedule(window=1, order=column)
states = gen.sample_trajectory(1, n_states=9, random_state=2).components[:, 0]
left = column < 4
print("left half finished halfway:", bool((states[4, left] == states[-1, left]).all()))
