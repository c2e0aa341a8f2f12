"""
Series and fields that go on
============================

Train on crops of one width, and continue beyond it: columns that are finished become the context of
those that follow. With ``active`` columns on their way at once, the next one is known softly while
the one before it is drawn.
"""

import matplotlib.pyplot as plt
import numpy as np

from gudlearn import DPMSolver, GUDGenerator, UNet

rng = np.random.default_rng(0)

# %%
# A series
# --------
# A noisy oscillation that forgets its phase: an autoregressive process of order two.


def oscillation(n, rng):
    """A process that turns once in some 14 steps and whose memory lasts as long."""
    x = np.zeros(n + 200)
    noise = rng.normal(size=len(x))
    for t in range(2, len(x)):
        x[t] = 1.6 * x[t - 1] - 0.8 * x[t - 2] + noise[t]
    return x[200:]


series = oscillation(4000, rng)
crops = np.lib.stride_tricks.sliding_window_view(series, 12)
gen = GUDGenerator(
    conditional_rate=0.6, sampler=DPMSolver(steps=30), max_time=8, random_state=0
).fit(crops)

start = series[None, -40:]
futures = gen.extend(np.repeat(start, 5, axis=0), 120, context=8, active=4)
figure, ax = plt.subplots(figsize=(8, 3), layout="constrained")
ax.plot(futures.T, color="#d55e00", linewidth=0.8, alpha=0.7)
ax.plot(start[0], color="black")
ax.set(xlabel="step", title="one past, five futures")

# %%
# Long continuations have the law of the series.

long = gen.extend(series[None, -12:], 1500, context=8, active=4, steps_per_column=8)[0, 12:]
for name, x in (("series", series), ("continued", long)):
    lags = [np.corrcoef(x[:-k], x[k:])[0, 1] for k in (1, 5, 10)]
    print(f"{name:>9}: deviation {x.std():.2f}, correlation at lags 1, 5, 10", np.round(lags, 2))

# %%
# A field
# -------
# Pictures 12 columns wide, of a field that is smooth in both directions; then one of 60.


def field(n_columns, rng, height=12, rho=0.85):
    """Columns of an autoregressive field, each smoothed along its height."""
    kernel = np.exp(-0.5 * (np.subtract.outer(range(height), range(height)) / 1.5) ** 2)
    root = np.linalg.cholesky(kernel + 1e-2 * np.eye(height))
    out = np.zeros((height, n_columns + 50))
    for c in range(1, out.shape[1]):
        out[:, c] = rho * out[:, c - 1] + np.sqrt(1 - rho**2) * root @ rng.normal(size=height)
    return out[:, 50:]


wide = field(4000, rng)
crops = np.lib.stride_tricks.sliding_window_view(wide, 12, axis=1).transpose(1, 0, 2)
gen = GUDGenerator(
    conditional_rate=0.6, network=UNet(width=32), sampler=DPMSolver(steps=20), max_time=12,
    random_state=0,
).fit(crops)  # fmt: skip
longer = gen.extend(crops[:1], 48, context=6, active=4, steps_per_column=6)[0]

figure, axes = plt.subplots(2, 1, figsize=(8, 3.6), layout="constrained")
for ax, picture, title in zip(
    axes, [wide[:, :60], longer], ["the field", "12 columns, continued by 48"], strict=True
):
    ax.imshow(picture, cmap="RdBu", vmin=-3, vmax=3)
    ax.set(title=title, xticks=[], yticks=[])
