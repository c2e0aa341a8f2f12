"""
Regression: intervals, and whether they can be trusted
======================================================

A regressor that returns one number hides two things: how far the target scatters, and whether it
has one likely value or two. :class:`~gudlearn.GUDRegressor` makes the target a column of the table
and returns its whole distribution given the features. The classifier does the same with a class.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_moons

from gudlearn import MLP, GUDClassifier, GUDGenerator, GUDRegressor, Schema

# %%
# The target of these rows scatters more on the right than on the left, and where x is above 1 it
# takes one of two branches.
rng = np.random.default_rng(0)


def draw(n):
    """Rows x, and y with a spread and a number of branches that depend on x."""
    x = rng.uniform(-3, 3, n)
    branch = np.where(rng.random(n) < 0.5, 1.0, -1.0) * np.clip(x - 1, 0, None)
    return x[:, None], np.sin(1.5 * x) + branch + (0.08 + 0.06 * (x + 3)) * rng.normal(size=n)


X, y = draw(1500)
# The marginal of y has peaks where its branches turn. A map to a normal column would bend the rest.
schema = Schema(gaussianize=False)
generator = GUDGenerator(network=MLP(width=96), schema=schema, batch_size=128, max_iter=32)
model = GUDRegressor(generator, random_state=0).fit(X, y)

# %%
# One call gives the distribution of each row, from which everything else follows: quantiles, mean,
# mode and density. The mean lies between the branches, where there are no rows.
grid = np.linspace(-3, 3, 97)[:, None]
found = model.predict_distribution(grid)
levels = np.linspace(0.05, 0.95, 19)
quantiles = found.quantile(levels)
heights = np.linspace(-5, 5, 161)
density = np.exp(found.log_prob(np.tile(heights, (len(grid), 1))))

figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharex=True, sharey=True, layout="constrained")
axes[0].scatter(X[:, 0], y, s=3, color="0.6")
for k in range(9):
    axes[0].fill_between(
        grid[:, 0], quantiles[:, k], quantiles[:, -1 - k], color="C0", alpha=0.12, linewidth=0
    )
axes[0].plot(grid[:, 0], found.mean(), color="C3", label="mean")
axes[0].legend(loc="upper left")
axes[0].set(xlabel="x", ylabel="y", title="Intervals of 10 % to 90 %")
axes[1].pcolormesh(grid[:, 0], heights, np.sqrt(density.T), cmap="Blues", rasterized=True, vmax=1.2)
axes[1].scatter(grid[::3, 0], found.mode()[::3], s=6, color="C3", label="mode")
axes[1].legend(loc="upper left")
axes[1].set(xlabel="x", title="Density of y given x (square root)")

# %%
# Are the intervals right? If they are, the distribution function of each test row at its y is
# uniform, and an interval of 90 % holds nine rows of ten. The reliability of a classifier is read
# in the same way: of the rows that get a probability of 70 %, 70 % should belong to the class.
X_test, y_test = draw(600)
of_test = model.predict_distribution(X_test)
p = np.sort(of_test.cdf(y_test))
low, high = of_test.quantile(np.array([0.05, 0.95])).T
coverage = np.mean((y_test >= low) & (y_test <= high))
print(f"an interval of 90 % holds {coverage:.1%} of the test rows")

X_moons, labels = make_moons(2500, noise=0.4, random_state=0)
small = GUDGenerator(network=MLP(width=64), batch_size=64, max_iter=20)
classifier = GUDClassifier(small, random_state=0)
proba = classifier.fit(X_moons[:1000], labels[:1000]).predict_proba(X_moons[1000:])[:, 1]
place = np.minimum((proba * 10).astype(int), 9)
bins = [place == k for k in range(10) if (place == k).sum() > 10]
predicted = [proba[inside].mean() for inside in bins]
observed = [labels[1000:][inside].mean() for inside in bins]

figure, axes = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
for ax in axes:
    ax.plot([0, 1], [0, 1], color="0.6", linewidth=1)
    ax.set(aspect="equal")
axes[0].plot(p, (np.arange(len(p)) + 0.5) / len(p))
axes[0].set(
    xlabel="predicted probability of a smaller y", ylabel="fraction of test rows",
    title="Calibration of the regressor",
)  # fmt: skip
axes[1].plot(predicted, observed, "o-")
axes[1].set(
    xlabel="predicted probability of the class", ylabel="fraction of test rows in the class",
    title="Reliability of the classifier",
)  # fmt: skip
plt.show()
