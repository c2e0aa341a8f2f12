"""
Continuing series and fields
============================

Train on crops of one width, then continue beyond it: finished columns become the context of the
columns that follow. With ``active`` columns generated at the same time, the next column is partly
denoised while the current one is being drawn.
"""

import matplotlib.pyplot as plt
import numpy as np

from gudlearn import DPMSolver, GUDGenerator, Schema, UNet

rng = np.random.default_rng(0)

# %%
# A series
# --------
# A noisy oscillation that loses its phase: an autoregressive process of order two.


def oscillation(n, rng):
    """Draw a process with a period of about 14 steps and a memory of about the same length."""
    x = np.zeros(n + 200)
    noise = rng.normal(size=len(x))
    for t in range(2, len(x)):
        x[t] = 1.6 * x[t - 1] - 0.8 * x[t - 2] + noise[t]
    return x[200:]


series = oscillation(4000, rng)
crops = np.lib.stride_tricks.sliding_window_view(series, 12)
gen = GUDGenerator(
    # Values move from column to column: none may have a map of its own.
    schema=Schema(gaussianize=False), conditional_rate=0.6, sampler=DPMSolver(steps=30),
    max_time=7, random_state=0,
).fit(crops)  # fmt: skip

start = series[None, -40:]
futures = gen.extend(np.repeat(start, 5, axis=0), 120, context=8, active=4)
figure, ax = plt.subplots(figsize=(8, 3), layout="constrained")
ax.plot(futures.T, color="#d55e00", linewidth=0.8, alpha=0.7)
ax.plot(start[0], color="black")
ax.set(xlabel="step", title="one past, five futures")

# %%
# Long continuations have the distribution of the series.

many = gen.extend(crops[:3000:100], 100, context=8, active=4, steps_per_column=8)[:, 12:]
for name, x in (("series", series[None]), ("continued", many)):
    lags = [np.corrcoef(x[:, :-k].ravel(), x[:, k:].ravel())[0, 1] for k in (1, 5, 10)]
    print(
        f"{name:>9}: standard deviation {x.std():.2f}, correlation at lags 1, 5, 10",
        np.round(lags, 2),
    )

# %%
# A field
# -------
# Images 12 columns wide, of a field that is smooth in both directions; then one of 60 columns.


def field(n_columns, rng, height=12, rho=0.85):
    """Draw an autoregressive sequence of columns, each smooth along its height."""
    kernel = np.exp(-0.5 * (np.subtract.outer(range(height), range(height)) / 1.5) ** 2)
    root = np.linalg.cholesky(kernel + 1e-2 * np.eye(height))
    out = np.zeros((height, n_columns + 50))
    for c in range(1, out.shape[1]):
        out[:, c] = rho * out[:, c - 1] + np.sqrt(1 - rho**2) * root @ rng.normal(size=height)
    return out[:, 50:]


wide = field(4000, rng)
crops = np.lib.stride_tricks.sliding_window_view(wide, 12, axis=1).transpose(1, 0, 2)
gen = GUDGenerator(
    conditional_rate=0.6, network=UNet(width=32), sampler=DPMSolver(steps=20), max_time=9,
    random_state=0,
).fit(crops)  # fmt: skip
longer = gen.extend(crops[:1], 48, context=6, active=4, steps_per_column=6)[0]

figure, axes = plt.subplots(2, 1, figsize=(8, 3.6), layout="constrained")
for ax, image, title in zip(
    axes, [wide[:, :60], longer], ["the field", "12 columns, continued by 48"], strict=True
):
    ax.imshow(image, cmap="RdBu", vmin=-3, vmax=3)
    ax.set(title=title, xticks=[], yticks=[])
