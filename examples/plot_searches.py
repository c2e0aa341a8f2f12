"""
Searches over bases, schedules, networks and pipelines
======================================================

Every part of a model is a parameter, so scikit-learn's searches choose among bases, schedules,
networks and whole pipelines. :class:`gudlearn.OptunaSearchCV` learns from trial to trial, and ends
bad trials before they are trained in full.

Fits are short here to keep the page quick, and scores take few draws of noise. A score is the mean
log-likelihood of held-out rows, in nats and in the units of the table: it can be compared across
all of these settings.
"""

# %%
# At random: parts of a pipeline
# ------------------------------
# The data are 178 wines with 13 measurements each. A candidate of ``RandomizedSearchCV`` is a draw
# from the lists: a step of the pipeline, a basis, a schedule.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_wine
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import HalvingGridSearchCV, KFold, RandomizedSearchCV
from sklearn.preprocessing import PowerTransformer, StandardScaler

from gudlearn import (
    MLP,
    GenerativePipeline,
    GUDGenerator,
    OptunaSearchCV,
    PCABasis,
    SequentialSchedule,
    SoftConditioningSchedule,
)

X = load_wine().data
cv = KFold(2, shuffle=True, random_state=0)
# "gaussian" knows no correlations at the start, so that bases and training matter.
gen = GUDGenerator(
    network=MLP(width=64), preconditioning="gaussian", max_iter=20, n_draws=16, random_state=0
)
pipeline = GenerativePipeline([("scale", StandardScaler()), ("gud", gen)])
parts = {
    "scale": [StandardScaler(), PowerTransformer()],
    "gud__basis": ["identity", PCABasis()],
    "gud__schedule": ["linear", SoftConditioningSchedule(0.5), SequentialSchedule(window=6)],
}
randomized = RandomizedSearchCV(pipeline, parts, n_iter=5, cv=cv, random_state=0).fit(X)
results = randomized.cv_results_
for index in np.argsort(results["rank_test_score"]):
    words = [str(value) for value in results["params"][index].values()]
    print(f"{results['mean_test_score'][index]:.2f} nats:", ", ".join(words))

# %%
# By successive halving: networks
# -------------------------------
# ``HalvingGridSearchCV`` trains all candidates for ten epochs, and the better half for twenty: its
# resource is ``max_iter`` of the generator. The rest of the pipeline is the best of above.
networks = {"gud__network": [MLP(width=32), MLP(width=64), MLP(width=64, n_blocks=1)]}
halving = HalvingGridSearchCV(
    randomized.best_estimator_, networks, resource="gud__max_iter", factor=2, min_resources=10,
    max_resources=20, cv=cv, random_state=0,
).fit(X)  # fmt: skip
print(halving.best_params_)

# %%
# By Optuna: trials that end early
# --------------------------------
# ``OptunaSearchCV`` (``pip install 'gudlearn[search]'``) takes lists, and distributions of Optuna
# and of scipy. Each trial is trained by ``partial_fit`` in steps, here of six epochs. After a step,
# its score is compared with those of earlier trials at the same step: below their median, it ends.
from optuna.distributions import FloatDistribution
from optuna.pruners import MedianPruner

space = {
    "learning_rate_init": FloatDistribution(1e-4, 3e-2, log=True),
    "basis": ["identity", PCABasis()],
    "schedule__softness": FloatDistribution(0.1, 10, log=True),
}
search = OptunaSearchCV(
    gen, space, n_trials=11, n_steps=4, epochs_per_step=6, cv=cv, random_state=0,
    pruner=MedianPruner(n_startup_trials=3),
)  # fmt: skip
search.fit(StandardScaler().fit_transform(X))
print(search.best_params_)

# %%
# The search finds the principal components, prunes later trials without them after one step, and
# sees that at a high learning rate the network soon fits the noise of 89 rows.
figure, ax = plt.subplots(figsize=(6.5, 3.8), layout="constrained")
colors = {"identity": "#d55e00", "PCABasis()": "#0072b2"}
for trial, params in zip(search.study_.trials, search.cv_results_["params"], strict=True):
    name = str(params["basis"])
    steps, scores = zip(*trial.intermediate_values.items(), strict=True)
    pruned = trial.state.name == "PRUNED"
    ax.plot(steps, scores, color=colors[name], linewidth=1.2)
    if pruned:
        ax.plot(steps[-1], scores[-1], "x", color=colors[name])
for name, color in colors.items():
    ax.plot([], [], color=color, label=name)
ax.plot([], [], "x", color="0.4", label="pruned")
ax.set(xlabel="step of six epochs", ylabel="held-out log-likelihood (nats)", xticks=range(1, 5))
ax.spines[["top", "right"]].set_visible(False)
ax.legend(frameon=False)
plt.show()
