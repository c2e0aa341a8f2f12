"""
A mixed table
=============

A table with text, dates, amounts that are often zero, missing values and a sum that must hold: what
is decided about its columns, new rows, how faithful they are, and questions to the model.
"""

import numpy as np
import pandas as pd

from gudlearn import (
    ConditionalDisplay,
    DiagnosisDisplay,
    GUDGenerator,
    MarginalsDisplay,
    PairDependenceDisplay,
    Schema,
)
from gudlearn.metrics import closest_record, shape_error, trend_error, two_sample_auc

# %%
# A table
# -------
# Orders of a shop. Shipping is free in the shop and above 120; a rating is often missing, mostly on
# the phone. Your own table comes from ``pd.read_csv`` or ``polars.read_parquet`` and needs nothing
# else.

rng = np.random.default_rng(0)
n = 3000
channel = rng.choice(["shop", "web", "phone"], n, p=[0.5, 0.35, 0.15])
region = rng.choice(["north", "south", "abroad"], n, p=[0.5, 0.3, 0.2])
region = np.where((channel == "shop") & (region == "abroad"), "north", region)
items = 1 + rng.poisson(np.where(channel == "web", 4.0, 1.5))
goods = np.round(2 * items * rng.gamma(2.0, 9.0, n) + 1) / 2
is_free = (channel == "shop") | (goods > 120)
shipping = np.where(is_free, 0.0, np.round(20 * (3.9 + rng.exponential(4.0, n))) / 20)
rating = pd.Series(np.clip(np.rint(rng.normal(4.2 - (shipping > 8), 0.8, n)), 1, 5)).astype("Int64")
orders = pd.DataFrame(
    {
        "channel": channel,
        "region": region,
        "date": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 366, n), unit="D"),
        "items": items,
        "goods": goods,
        "shipping": shipping,
        "total": np.round(goods + shipping, 2),
        "rating": rating.mask(rng.random(n) < np.where(channel == "phone", 0.6, 0.2)),
    }
)
train, test = orders[:2000], orders[2000:]
train.head()

# %%
# What is decided about it
# ------------------------
# Types, grids and values that repeat are found. Two things are declared: a missing rating is a
# value of its own, which samples have, too; and a sum must hold.

schema = Schema(missing="model", constraints=["goods + shipping == total"])
gen = GUDGenerator(schema=schema, conditional_rate=0.3, max_iter=50, random_state=0).fit(train)
gen.schema_  # noqa: B018

# %%
# Is the fit good?
# ----------------
# Test rows say what is wrong, and what to try next: how well each column is predicted from the
# others, how likely rows are beside those of the fit, and whether the training was too short.

diagnosis = gen.diagnose(test, n_rows=100)
print(diagnosis)

# %%
# Left, a column that leaves the grey band is not calibrated.

DiagnosisDisplay.from_diagnosis(diagnosis)

# %%
# New rows
# --------
# They have the columns, dtypes and digits of the data, and satisfy the constraint.

rows = gen.sample(1000)
error = (rows["goods"] + rows["shipping"] - rows["total"]).abs().max()
print(f"largest error of the sum: {error:.1e}")
rows.head()

# %%
# Bars are levels, and spikes are values that repeat far more often than their neighbours. Grey is
# held-out data, orange are new rows.

MarginalsDisplay.from_samples(test, rows, name="new rows")

# %%
# How faithful they are
# ---------------------
# A classifier that tries to tell new rows from held-out ones has an AUC of 0.5 if it cannot. More
# time to train brings it closer to that. The importance says which columns give new rows away.

print(two_sample_auc(test, rows, importance=True))
print(shape_error(test, rows))
print(trend_error(test, rows))
print(closest_record(train, test, rows))

# %%
# The dependence of each pair of columns: correlations, and Cramér's V where one of the two is a
# category.

PairDependenceDisplay.from_samples(test, rows, name="new rows")

# %%
# Questions
# ---------
# A row of which two columns are known. What could the others be?

ConditionalDisplay.from_estimator(
    gen, {"channel": "web", "items": 6}, n_samples=300, random_state=0, name="an order"
)

# %%
# Probabilities of a category given some of the other columns, and rows for which conditions hold.

print(gen.conditional_proba({"goods": [20.0, 200.0], "shipping": [0.0, 0.0]}, "channel").round(2))
print(gen.sample(5, where={"goods": (100, None), "region": ["south", "abroad"]}))
