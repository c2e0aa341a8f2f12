"""
Inpainting and super-resolution
===============================

One model of the digits completes any part of them. With ``conditional_rate`` above 0 it is trained
on rows with observed and missing parts, and sampling with ``given=`` is as exact as the network.
Other information, such as the mean of each block of pixels, is a linear observation, which guides
the same model.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from gudlearn import DPMSolver, GUDGenerator, UNet

X_train, X_test = train_test_split(load_digits().images, test_size=0.2, random_state=0)
gen = GUDGenerator(
    bin_width=1.0,
    bin_range=(0, 16),
    conditional_rate=0.5,
    network=UNet(width=32),
    sampler=DPMSolver(steps=25),
    max_time=12,
    random_state=0,
).fit(X_train)


def show(columns, titles):
    """Draw columns of images side by side."""
    figure, axes = plt.subplots(
        len(columns[0]), len(columns), figsize=(1.1 * len(columns), 1.1 * len(columns[0])),
        layout="constrained",
    )  # fmt: skip
    for ax, (row, column) in zip(axes.ravel(), np.ndindex(axes.shape), strict=True):
        ax.imshow(columns[column][row], cmap="gray_r", vmin=0, vmax=16)
        ax.set(xticks=[], yticks=[])
        ax.set_facecolor("#fdebd9")
        if row == 0:
            ax.set_title(titles[column], fontsize=8)


# %%
# The lower half, given the upper
# -------------------------------
# NaN marks the targets. Observed pixels come back unchanged, bit for bit.

truth = X_test[:5]
partial = truth.copy()
partial[:, 4:] = np.nan
draws = gen.sample(4, given=partial)
show([truth, partial, *draws], ["truth", "given", "drawn", "drawn", "drawn", "drawn"])

# %%
# Bits per pixel of held-out digits measure how good these conditional distributions are.

upper = np.zeros((8, 8), bool)
upper[:4] = True
alone = X_test[:100].copy()
alone[:, 4:] = np.nan
print(f"all of a digit:             {gen.bits_per_dim(X_test[:100]):.2f} bits per pixel")
print(f"lower half given the upper: {gen.bits_per_dim(X_test[:100], given_columns=upper):.2f}")
print(f"upper half alone:           {gen.bits_per_dim(alone):.2f}")
print("how `given=` is done here: ", gen.conditioning_method(upper))

# %%
# The outside, given the middle
# -----------------------------

partial = np.full_like(truth, np.nan)
partial[:, 2:6, 2:6] = truth[:, 2:6, 2:6]
draws = gen.sample(4, given=partial)
show([truth, partial, *draws], ["truth", "given", "drawn", "drawn", "drawn", "drawn"])

# %%
# Super-resolution
# ----------------
# Here the means of blocks of 2 x 2 pixels are observed: y = A x, with a matrix A of 16 rows.

blocks = np.kron(np.eye(4), np.full((1, 2), 0.5))
A = np.kron(blocks, blocks)
coarse = truth.reshape(5, 64) @ A.T
draws = gen.sample(4, observation=(A, coarse, 0.1))
shown = np.kron(coarse.reshape(5, 4, 4), np.ones((2, 2)))
show([truth, shown, *draws], ["truth", "observed", "drawn", "drawn", "drawn", "drawn"])
error = np.abs(draws.reshape(4, 5, 64) @ A.T - coarse).mean()
print(f"mean absolute error of the block means: {error:.2f} of 16 levels")
