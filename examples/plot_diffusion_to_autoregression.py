"""
From diffusion to autoregression
================================

Diffusion draws everything at once; autoregression one thing after another. Between them lies
softness: how much of one part is still open when the next one begins. One network that sees the
noise level of every component serves all of them, and this page goes from one end to the other
with one fit.
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
# The columns of a digit, from left to right. ``window`` columns are on their way at once: all
# eight, half of them, two, one. Dark is decided, white is noise.

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
# ``conditional_rate`` shows the network rows whose parts are known, missing, or on their way one
# after another, beside rows whose parts travel together.

gen = GUDGenerator(
    bin_width=1.0, conditional_rate=0.5, sampler=DPMSolver(steps=64), max_time=14, random_state=0
).fit(X_train)

# %%
# One sample on its way, under each schedule
# ------------------------------------------
# The expected digit, given the state: at first a blur of all digits. Where all columns travel
# together the blur makes up its mind as a whole; where they follow one another the left is
# settled while the right is still open. The schedule is put in place after the fit.

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
# For an exact denoiser the bound is the same along every path. What differs here is what this
# network knows of the states on each of them; and at window 1 the sum over columns is the chain
# rule.

for window in windows:
    gen.schedule_ = SequentialSchedule(window=window, order=column)
    print(f"window {window:>3}: {gen.bits_per_dim(X_test[:150]):.3f} bits per pixel")

# %%
# Finished columns are never touched again: halfway through window 1 the left half of the state is
# what it will be in the end, to the bit.

gen.schedule_ = SequentialSchedule(window=1, order=column)
states = gen.sample_trajectory(1, n_states=9, random_state=2).components[:, 0]
left = column < 4
print("left half finished halfway:", bool((states[4, left] == states[-1, left]).all()))
