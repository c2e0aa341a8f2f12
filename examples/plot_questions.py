"""
Questions to one model
======================

One fit answers questions in every direction: the values of any columns given any others, and rows
that satisfy conditions. ``conditional_rate`` above 0 trains it on partly observed rows.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_iris

from gudlearn import GUDGenerator

# %%
# 150 irises: four lengths, and a species.
loaded = load_iris(as_frame=True)
irises = loaded.data.rename(columns=lambda name: name.removesuffix(" (cm)"))
irises["species"] = loaded.target_names[loaded.target]
gen = GUDGenerator(conditional_rate=0.5, max_iter=400, random_state=0).fit(irises)

# %%
# Which species, given a single length? Whatever is not passed is asked for, or averaged over.
lengths = np.linspace(1, 7, 25)
proba = gen.conditional_proba({"petal length": lengths}, "species", n_samples=200)

figure, ax = plt.subplots(figsize=(7, 3), layout="constrained")
ax.stackplot(lengths, proba.T, labels=proba.columns, alpha=0.7)
ax.set(xlabel="petal length, cm", ylabel="probability", ylim=(0, 1), xlim=(1, 7))
ax.legend(loc="lower left")

# %%
# Draws of whole rows answer the rest: here the petal's width, with its scatter.
draws = gen.sample(100, given=pd.DataFrame({"petal length": lengths}), random_state=0)
quantiles = draws.groupby("row")["petal width"].quantile([0.05, 0.5, 0.95]).unstack()
low, middle, high = quantiles.to_numpy().T

figure, ax = plt.subplots(figsize=(7, 3), layout="constrained")
ax.fill_between(lengths, low, high, alpha=0.3, label="5 % to 95 %")
ax.plot(lengths, middle, label="median")
ax.plot(irises["petal length"], irises["petal width"], ".", color="0.3", label="150 irises")
ax.set(xlabel="petal length, cm", ylabel="petal width, cm")
ax.legend()

# %%
# Rows with conditions: ``given`` fixes values, ``where`` gives ranges and sets.
rows = gen.sample(
    200, given={"sepal length": 6.0}, where={"species": ["versicolor", "virginica"]}, random_state=0
)

figure, ax = plt.subplots(figsize=(7, 3.5), layout="constrained")
ax.plot(irises["petal length"], irises["petal width"], ".", color="0.75", label="150 irises")
for species, drawn in rows.groupby("species", observed=True):
    ax.plot(drawn["petal length"], drawn["petal width"], "x", markersize=4, label=species)
ax.set(xlabel="petal length, cm", ylabel="petal width, cm", title="Drawn with sepals of 6 cm")
ax.legend()
plt.show()
