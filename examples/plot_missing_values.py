"""
Missing values
==============

A model that is trained on rows with missing values can impute them, score the observed part of a
row, and find the value that does not fit.
"""

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, SimpleImputer

from gudlearn import ConditionalDisplay, GUDGenerator, GUDImputer

# %%
# An imputer
# ----------
# :class:`gudlearn.GUDImputer` is used like scikit-learn's imputers. A fifth of the entries of the
# diabetes data are hidden; errors are in standard deviations of the columns.

X = load_diabetes(scaled=False).data
rng = np.random.default_rng(0)
hidden = rng.random(X.shape) < 0.2
X_missing = np.where(hidden, np.nan, X)
scale = X.std(0)

generator = GUDGenerator(max_time=5)
imputers = {
    "column means": SimpleImputer(),
    "IterativeImputer": IterativeImputer(max_iter=30, tol=1e-2, random_state=0),
    "GUDImputer": GUDImputer(generator, n_samples=10, random_state=0),
}
for name, imputer in imputers.items():
    error = ((imputer.fit_transform(X_missing) - X) / scale)[hidden]
    print(f"{name:>16}: root mean square error {np.sqrt((error**2).mean()):.3f}")

# %%
# Conditional means have the smallest error, but they vary too little, and so does any statistic
# that is computed from them. Draws vary as much as the data. Several imputations show how uncertain
# the values are.

draws = imputers["GUDImputer"].sample_imputations(X_missing, 5)
print("standard deviation of the third column, hidden entries:")
print(f"    truth {X[hidden[:, 2], 2].std():.2f}")
print(f"    means {imputers['GUDImputer'].transform(X_missing)[hidden[:, 2], 2].std():.2f}")
print(f"    draws {draws[:, hidden[:, 2], 2].std():.2f}")

# %%
# A generator with missing values
# -------------------------------
# The generator accepts NaN as well: in ``fit``; in ``score_samples``, which then returns log
# p(observed); and in ``sample(given=)``, where NaN marks the targets. The columns are standardised,
# so that one axis shows them all.

bunch = load_breast_cancer(as_frame=True)
X = bunch.data[[c for c in bunch.data if c.startswith("mean")]]
X = (X - X[:450].mean()) / X[:450].std()
X_train, X_test = X[:450], X[450:]
X_train = X_train.mask(rng.random(X_train.shape) < 0.2)
gen = GUDGenerator(max_time=5, random_state=0).fit(X_train)
print(f"log-likelihood of whole rows: {gen.score(X_test):.2f} nats")
print(f"given radius and texture:     {gen.score(X_test, given_columns=X.columns[:2]):.2f} nats")

# %%
# The area of a cell grows with its radius. Here are completions of one row of which four of ten
# values are hidden:

truth = X_test.iloc[0].to_numpy()
row = truth.copy()
row[[2, 3, 6, 7]] = np.nan
ConditionalDisplay.from_estimator(gen, row, truth=truth, n_samples=50, name="a row of ten")

# %%
# Which value is odd?
# -------------------
# In the second row the perimeter does not fit the radius. Each value is ordinary by itself, but not
# given the others.

rows = pd.DataFrame([truth, truth], columns=X.columns, index=["as it is", "changed"])
rows.loc["changed", "mean perimeter"] += 2.0
others = [c for c in rows if c != "mean perimeter"]
score_alone = gen.score_samples(rows[["mean perimeter"]].reindex(columns=rows.columns))
score_given = gen.score_samples(rows, given_columns=others)
print(f"perimeter alone:            {score_alone.round(2)} nats")
print(f"perimeter given the others: {score_given.round(2)} nats")
