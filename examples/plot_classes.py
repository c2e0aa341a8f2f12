"""
Classes of rows, with features that are missing
===============================================

:class:`gudlearn.GUDClassifier` predicts the class from the joint model of all columns. A row may
then have any features or none: what is missing is averaged over, and not filled by a guess.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_wine
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gudlearn import GUDClassifier, GUDGenerator

# %%
# Wines of three cultivars. Training rows are complete; test rows lack more and more of their 13
# measurements.
X, y = load_wine(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.5, random_state=0)
generator = GUDGenerator(conditional_rate=0.5, max_iter=200)
model = GUDClassifier(generator, random_state=0).fit(X_train, y_train)
peer = make_pipeline(StandardScaler(), SimpleImputer(), LogisticRegression())
peer.fit(X_train, y_train)

rng = np.random.default_rng(0)
order = rng.random(X_test.shape).argsort(1).argsort(1)
n_missing = [0, 3, 6, 9, 12]
losses = {"GUDClassifier": [], "means, then LogisticRegression": []}
for n in n_missing:
    X_partial = np.where(order < n, np.nan, X_test)
    for losses_of, each in zip(losses.values(), (model, peer), strict=True):
        losses_of.append(log_loss(y_test, each.predict_proba(X_partial)))

figure, ax = plt.subplots(figsize=(6, 3.5), layout="constrained")
for (name, values), mark in zip(losses.items(), ("o-", "s--"), strict=True):
    ax.plot(n_missing, values, mark, label=name)
ax.set(xlabel="measurements that are missing, of 13", ylabel="log loss of held-out rows")
ax.legend()

# %%
# With nothing known the answer is the frequencies of the classes, and each measurement moves it.
row, known = X_test[:1], np.full((14, 13), np.nan)
for k in range(1, 14):
    known[k, :k] = row[0, :k]
proba = model.predict_proba(known)

figure, ax = plt.subplots(figsize=(6, 3.5), layout="constrained")
ax.stackplot(range(14), proba.T, labels=[f"class {k}" for k in model.classes_], alpha=0.8)
ax.set(xlabel="measurements that are known", ylabel="probability", xlim=(0, 13), ylim=(0, 1),
       title=f"A wine of class {y_test[0]}")  # fmt: skip
ax.legend(loc="lower right")
plt.show()
