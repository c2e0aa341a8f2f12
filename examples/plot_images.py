"""
Images by class
===============

:class:`gudlearn.GUDGenerator` accepts images as arrays of shape ``(n, height, width)`` or ``(n,
height, width, channels)`` and returns images of the same shape and dtype. The network is
convolutional, and with labels it generates the class that you ask for.

Training takes a few seconds to keep this page quick. Minutes give a better model: raise
``max_time``.
"""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from gudlearn import GUDGenerator, SampleGridDisplay, UNet

# %%
# A fit with labels
# -----------------
# With ``class_conditional=True`` the network is conditioned on the labels. The digits are whole
# numbers from 0 to 16 stored as floats: ``bin_width=1`` says so, and scores are log-probabilities.

digits = load_digits()
X_train, X_test, y_train, y_test = train_test_split(
    digits.images, digits.target, test_size=0.2, random_state=0, stratify=digits.target
)
gen = GUDGenerator(
    bin_width=1.0, class_conditional=True, network=UNet(width=32, n_blocks=1), max_time=14,
    random_state=0,
).fit(X_train, y_train)  # fmt: skip
print(f"given the class:    {gen.bits_per_dim(X_test[:100], y_test[:100]):.3f} bits per pixel")
print(f"without the class:  {gen.bits_per_dim(X_test[:100]):.3f} bits per pixel")

# %%
# Samples of each class
# ---------------------
# Six of each class. ``guidance`` above 1 exaggerates the features that tell the classes apart.

y = np.repeat(np.arange(10), 6)
drawn = gen.sample(60, y=y, guidance=1.5)
order = np.argsort(y_test, kind="stable")
real = np.concatenate([X_test[order][y_test[order] == c][:6] for c in range(10)])
SampleGridDisplay.from_samples(
    real.reshape(60, -1), drawn.reshape(60, -1), n_samples=60, shape=(8, 8), name="given the class"
)
