"""
Missing values
==============

A model that has seen rows with holes answers for every part of a row: it fills the rest in, scores
what is there, and says which value is odd.
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
# :class:`gudlearn.GUDImputer` stands where scikit-learn's imputers do. A fifth of the entries of
# the diabetes data is hidden; errors are in standard deviations of the columns.

X = load_diabetes(scaled=False).data
rng = np.random.default_rng(0)
hidden = rng.random(X.shape) < 0.2
X_holes = np.where(hidden, np.nan, X)
spread = X.std(0)

generator = GUDGenerator(max_time=5)
imputers = {
    "column means": SimpleImputer(),
    "IterativeImputer": IterativeImputer(max_iter=30, tol=1e-2, random_state=0),
    "GUDImputer": GUDImputer(generator, n_samples=10, random_state=0),
}
for name, imputer in imputers.items():
    error = ((imputer.fit_transform(X_holes) - X) / spread)[hidden]
    print(f"{name:>16}: root mean square error {np.sqrt((error**2).mean()):.3f}")

# %%
# Means are the best guesses, and too much alike: their spread is too small, and so is that of
# what is computed from them. Draws have the spread of the data. Several imputations tell how sure
# one can be.

draws = imputers["GUDImputer"].sample_imputations(X_holes, 5)
print("standard deviation of the third column, hidden entries:")
print(f"    truth {X[hidden[:, 2], 2].std():.2f}")
print(f"    means {imputers['GUDImputer'].transform(X_holes)[hidden[:, 2], 2].std():.2f}")
print(f"    draws {draws[:, hidden[:, 2], 2].std():.2f}")

# %%
# A generator with holes
# ----------------------
# The generator itself takes NaN: in ``fit``, in ``score_samples``, which is then log p(observed),
# and as ``given=`` in ``sample``, where it marks what is wanted.

bunch = load_breast_cancer(as_frame=True)
X = bunch.data[[c for c in bunch.data if c.startswith("mean")]]
X_train, X_test = X[:450].copy(), X[450:]
X_train = X_train.mask(rng.random(X_train.shape) < 0.2)
gen = GUDGenerator(max_time=5, random_state=0).fit(X_train)
print(f"log-likelihood of whole rows: {gen.score(X_test):.2f} nats")
print(f"given radius and texture:     {gen.score(X_test, given_columns=X.columns[:2]):.2f} nats")

# %%
# The area of a cell goes with its radius. Completions of one row, four of ten values hidden:

scale = X_train.std()
standard = (X_train - X_train.mean()) / scale
gen = GUDGenerator(max_time=5, random_state=0).fit(standard)
truth = ((X_test - X_train.mean()) / scale).iloc[0].to_numpy()
row = truth.copy()
row[[2, 3, 6, 7]] = np.nan
ConditionalDisplay.from_estimator(gen, row, truth=truth, n_samples=50, name="a row of ten")

# %%
# Which value is odd?
# -------------------
# A row whose perimeter does not fit its radius: each column by itself is ordinary, but not given
# the others.

rows = pd.DataFrame([truth, truth], columns=X.columns, index=["as it is", "changed"])
rows.loc["changed", "mean perimeter"] += 2.0
others = [c for c in rows if c != "mean perimeter"]
score_alone = gen.score_samples(rows[["mean perimeter"]].reindex(columns=rows.columns))
score_given = gen.score_samples(rows, given_columns=others)
print(f"perimeter alone:            {score_alone.round(2)} nats")
print(f"perimeter given the others: {score_given.round(2)} nats")
