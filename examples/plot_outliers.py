"""
Outliers
========

:class:`gudlearn.GUDOutlierDetector` ranks the rows of a table by how unusual they are, and says
which column of a row is odd. By default it trains nothing: it compares pairs of columns and whole
rows with the training rows, under noise.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_wine

from gudlearn import GUDOutlierDetector

# %%
# Scores on a plane
# -----------------
# Two clusters, and three rows that do not belong: one far away, one between the clusters, and one
# whose values are frequent but do not go together. Shades are the scores; the line is the
# threshold. ``contamination="auto"`` sets it by the scores of the training rows, each of them
# scored without itself, so that no fraction of outliers has to be known.

rng = np.random.default_rng(0)
first = rng.normal(size=(200, 1)) * [1.0, 0.9] + 0.25 * rng.normal(size=(200, 2)) + [-2.0, -1.0]
second = 0.35 * rng.normal(size=(100, 2)) + [2.5, 1.5]
X = np.vstack([first, second])
odd = np.array([[4.5, -2.5], [1.1, 0.0], [-3.0, 0.4]])

detector = GUDOutlierDetector(contamination="auto", random_state=0).fit(X)
print("scores of the three:", detector.score_samples(odd).round(2))
print("predictions:        ", detector.predict(odd))
print(f"training rows below the threshold: {(detector.predict(X) == -1).mean():.1%}")

# %%

x, y = np.linspace(-6, 6, 70), np.linspace(-4.5, 4, 50)
grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
scores = detector.score_samples(grid).reshape(len(y), len(x))

fig, ax = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
shades = ax.contourf(x, y, scores, levels=12, cmap="Blues")
ax.contour(x, y, scores, levels=[detector.offset_], colors="tab:red", linestyles="solid")
ax.plot(*X.T, ".", color="0.2", markersize=4, label="training rows")
ax.plot(*odd.T, "X", color="tab:red", markersize=9, markeredgecolor="white", label="odd rows")
fig.colorbar(shades, label="score")
ax.set(xlabel="first column", ylabel="second column", title="Scores, and the threshold in red")
ax.legend(loc="upper left")
plt.show()

# %%
# Which column is odd
# -------------------
# ``score_columns`` is the score of a row minus its score without the column: negative where the
# column makes the row unusual. A typing error in a table of wines: one alcohol content ten times
# too small.

wine = load_wine(as_frame=True).data
table = wine.copy()
table.loc[17, "alcohol"] /= 10

detector = GUDOutlierDetector(random_state=0).fit(table)
scores = detector.score_samples(table)
print("least usual rows:", np.argsort(scores)[:5])
columns = detector.score_columns(table.iloc[[17]])[0]
print("odd column of row 17:", table.columns[columns.argmin()])

fig, ax = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
colors = ["tab:red" if name == "alcohol" else "tab:blue" for name in table.columns]
ax.barh(table.columns, columns, color=colors)
ax.axvline(0, color="0.5", linewidth=0.8)
ax.invert_yaxis()
ax.set(xlabel="score with the column minus score without", title="Row 17")
plt.show()

# %%
# Missing values and categories need no preparation: parts of a row that are not observed are left
# out.

table.loc[3, ["ash", "hue"]] = np.nan
table["strong"] = np.where(table["alcohol"] > 13, "yes", "no")
detector.fit(table)
print("score of row 3 with missing values:", detector.score_samples(table)[3].round(2))
