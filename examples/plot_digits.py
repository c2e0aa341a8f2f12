"""
Handwritten digits
==================

Fit a generator to the handwritten digits that come with scikit-learn, draw new digits, and compute
the probability of digits that it has not seen.

Training stops early (``max_iter``) to keep this page quick. Results are better without it:
``max_iter="auto"``, the default, trains for 500 epochs.
"""

# %%
# The data
# --------
# A digit is a row of 64 pixels, each a whole number from 0 to 16. The rows are stored as floats, so
# ``bin_width=1.0`` says that they are discrete: scores are then log-probabilities, and sampled
# pixels are whole numbers again.
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from gudlearn import GUDGenerator, LossCurveDisplay, SampleGridDisplay

X, y = load_digits(return_X_y=True)
X_train, X_test = train_test_split(X, test_size=0.2, stratify=y, random_state=0)

gen = GUDGenerator(bin_width=1.0, max_iter=25, random_state=0).fit(X_train)

# %%
# New digits
# ----------
# Held-out digits on the left, generated digits on the right.
SampleGridDisplay.from_estimator(gen, X_test, shape=(8, 8), random_state=0)

# %%
# How probable are digits it has not seen?
# ----------------------------------------
# ``score`` is the mean log-likelihood of a row in nats. ``bits_per_dim`` is its negative, per pixel
# and in bits: 0 would mean that every pixel is predicted with certainty, and log2(17) = 4.09 that
# all 17 levels are equally likely.
held_out = X_test[:60]
print(f"mean log-probability of a digit: {gen.score(held_out):.1f} nats")
print(f"bits per pixel: {gen.bits_per_dim(held_out):.2f}")

# %%
# A digit upside down is less probable than the digit itself.
upside_down = held_out[:, ::-1]
print(f"bits per pixel, upside down: {gen.bits_per_dim(upside_down):.2f}")

# %%
# The training
# ------------
# Both curves are bounds on the negative log-likelihood, in nats per pixel: one for the training
# rows, with dropout in the network, and one for the validation rows that choose the weights.
LossCurveDisplay.from_estimator(gen)
