"""
Grid search over the softness
=============================

``schedule__softness`` is a hyper-parameter like any other, so scikit-learn's ``GridSearchCV`` can
choose it. The score is the mean log-likelihood of held-out rows in nats.

Each fit is short (``max_iter``) to keep this page quick, so the differences are small.
"""

# %%
# The data
# --------
# 178 wines with 13 measurements each. The measurements have different units, so the columns are
# standardised first: softness 1 is diffusion with white noise in the units that the basis sees.
# ``GenerativePipeline`` adds the log-determinant of the scaling to the score, so the score is in
# the units of the table, whatever the steps.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_wine
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.preprocessing import StandardScaler

from gudlearn import (
    GenerativePipeline,
    GUDGenerator,
    MarginalsDisplay,
    PCABasis,
    SoftConditioningSchedule,
)

X = load_wine(as_frame=True).data

# %%
# The search
# ----------
gen = GUDGenerator(
    basis=PCABasis(whiten=True),
    schedule=SoftConditioningSchedule(),
    max_iter=15,
    random_state=0,
)
pipeline = GenerativePipeline([("scale", StandardScaler()), ("gud", gen)])
softness = [0.3, 1.0, np.inf]
search = GridSearchCV(
    pipeline,
    {"gud__schedule__softness": softness},
    cv=KFold(3, shuffle=True, random_state=0),
)
search.fit(X)
print(f"best softness: {search.best_params_['gud__schedule__softness']}")

# %%
# The folds differ far more than the settings do. The figure therefore shows the gain over infinite
# softness on the same fold: its mean over the three folds and its standard error.
scores = np.array([search.cv_results_[f"split{fold}_test_score"] for fold in range(3)])
gain = scores - scores[:, [-1]]
error = gain.std(axis=0, ddof=1) / np.sqrt(3)
figure, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
ax.errorbar(range(len(softness)), gain.mean(axis=0), error, fmt="o", capsize=3, color="#0072b2")
ax.set_xticks(range(len(softness)), [f"{value:g}" for value in softness])
ax.set(xlabel="softness", ylabel="gain over infinity (nats per row)")
ax.axhline(0, color="0.7", linewidth=0.8, zorder=0)
ax.spines[["top", "right"]].set_visible(False)

# %%
# What it samples
# ---------------
# The marginals of as many generated wines as there are real ones.
MarginalsDisplay.from_estimator(search.best_estimator_, X, random_state=0, name="generated")
plt.show()
