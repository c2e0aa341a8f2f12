"""
A report
========

Are new rows good? A number alone does not say: an error of 0.03 is much in one table and chance in
another. :func:`gudlearn.metrics.report` puts every metric beside rows whose quality is known.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

from gudlearn import GUDGenerator
from gudlearn.metrics import report

# %%
# Rows to judge
# -------------
# Ten measurements of tumours and a diagnosis; half of the rows are for training. The generator is
# trained for a moment only.

frame = load_breast_cancer(as_frame=True).frame
table = frame[[name for name in frame if name.startswith("mean ")]]
table = table.rename(columns=lambda name: name.removeprefix("mean "))
table["diagnosis"] = frame["target"].map({0: "malignant", 1: "benign"})
train, test = train_test_split(table, test_size=0.5, random_state=0, stratify=table["diagnosis"])

gen = GUDGenerator(max_iter=20, random_state=0).fit(train)
rows = gen.sample(500)

# %%
# Their report
# ------------
# Test rows are divided into two halves: one is compared with, and the other, the held-out rows, is
# what an ideal generator reaches. A copy of training rows, independent columns and a shallow
# mixture show what copies, right margins alone and a few seconds of work are worth.

found = report(train, test, rows, model=gen, target="diagnosis", random_state=0)
found  # noqa: B018

# %%
# The worst columns and pairs come first. All values are also in one frame, ``found.to_frame()``.

print(found.columns[["kind", "excess", "shape_error", "shape_error_held_out"]].head().round(3))
print(found.pairs.head(3).round(3))

# %%
# How far rows can be told from held-out ones, and how well dependences are kept. Bars are one
# standard error.

fig, axes = plt.subplots(1, 2, figsize=(8, 2.6), sharey=True, layout="constrained")
for ax, key in zip(axes, ["two_sample_auc", "trend_error"], strict=True):
    values, errors = found.values.loc[key], found.standard_errors.loc[key]
    colors = ["#d55e00"] + ["#9aa5b1"] * (len(values) - 1)
    ax.barh(values.index, values, xerr=errors, color=colors)
    ax.set_xlabel(key)
axes[0].invert_yaxis()
plt.show()

# %%
# A page with pictures
# --------------------
# ``found.save("report.html")`` writes one file that needs no network and no other file: the
# verdict, the tables, the distribution of each column, the associations of pairs, and where the
# worst pairs differ. It is light or dark as the reader's browser is, and its tables can be sorted.

print(f"{len(found.to_html()) / 1e3:.0f} kB")
