"""
Handwritten digits
==================

Fit a generator to the handwritten digits that come with scikit-learn, draw new ones, and ask how
probable digits are that it has never seen.

The training is cut short by ``max_iter`` to keep this page quick. Without it the figures are
better: ``python -m gudlearn demo`` trains for as long as the defaults ask for.
"""

# %%
# The data
# --------
# A digit is a row of 64 pixels, each a whole number from 0 to 16. The rows are stored as floats, so
# we say with ``bin_width=1.0`` that they are discrete: scores are then log-probabilities, and
# sampled pixels are whole numbers again.
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from gudlearn import GUDGenerator, LossCurveDisplay, SampleGridDisplay

X, y = load_digits(return_X_y=True)
X_train, X_test = train_test_split(X, test_size=0.2, stratify=y, random_state=0)

gen = GUDGenerator(bin_width=1.0, max_iter=25, random_state=0).fit(X_train)

# %%
# New digits
# ----------
# To the left held-out digits, to the right generated ones.
SampleGridDisplay.from_estimator(gen, X_test, shape=(8, 8), random_state=0)

# %%
# How probable are digits it has never seen?
# ------------------------------------------
# ``score`` is the mean log-likelihood of a row in nats. ``bits_per_dim`` is the same per pixel, in
# bits, with the sign turned: 0 would mean that every pixel is foreseen with certainty, and
# log2(17) = 4.09 that all 17 levels are equally likely.
print(f"mean log-probability of a digit: {gen.score(X_test):.1f} nats")
print(f"bits per pixel: {gen.bits_per_dim(X_test):.3f}")

# %%
# A digit upside down is less probable than the digit itself.
upside_down = X_test[:, ::-1]
print(f"bits per pixel, upside down: {gen.bits_per_dim(upside_down):.3f}")

# %%
# The training
# ------------
# Both curves are bounds on the negative log-likelihood, in nats per pixel: of the rows that are
# trained on, with the network's units silenced at random, and of those held out to choose weights.
LossCurveDisplay.from_estimator(gen)
