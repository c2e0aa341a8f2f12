"""
Images
======

:class:`gudlearn.GUDGenerator` takes images as they come, ``(n, height, width)`` or ``(n, height,
width, channels)``, and gives back images of the same shape and dtype. The network is convolutional;
noise acts in the basis of your choice. Here: digits by class, and patches of a photograph.

The budgets are some seconds each, so that the page is built quickly. Minutes make better models:
raise ``max_time``.
"""

import numpy as np
from sklearn.datasets import load_digits, load_sample_image
from sklearn.feature_extraction.image import extract_patches_2d
from sklearn.model_selection import train_test_split

from gudlearn import (
    GUDGenerator,
    SampleGridDisplay,
    SoftConditioningSchedule,
    UNet,
)

# %%
# Digits, given their class
# -------------------------
# With ``class_conditional=True`` the labels go into the network. The digits are whole numbers from
# 0 to 16 stored as floats: ``bin_width=1`` says so, and scores are log-probabilities.

digits = load_digits()
X_train, X_test, y_train, y_test = train_test_split(
    digits.images, digits.target, test_size=0.2, random_state=0, stratify=digits.target
)
gen = GUDGenerator(
    bin_width=1.0, class_conditional=True, network=UNet(width=32, n_blocks=1), max_time=10,
    random_state=0,
).fit(X_train, y_train)  # fmt: skip
print(f"given the class:    {gen.bits_per_dim(X_test[:100], y_test[:100]):.3f} bits per pixel")
print(f"without the class:  {gen.bits_per_dim(X_test[:100]):.3f} bits per pixel")

# %%
# Six of each class. ``guidance`` above 1 exaggerates what makes a 3 a 3.

y = np.repeat(np.arange(10), 6)
drawn = gen.sample(60, y=y, guidance=1.5)
order = np.argsort(y_test, kind="stable")
real = np.concatenate([X_test[order][y_test[order] == c][:6] for c in range(10)])
SampleGridDisplay.from_samples(
    real.reshape(60, -1), drawn.reshape(60, -1), n_samples=60, shape=(8, 8), name="given the class"
)

# %%
# Patches of a photograph
# -----------------------
# Colours in eight bits: the dtype says that levels are whole numbers from 0 to 255.
# Noise acts in Haar wavelets here, so that schedules can tell coarse from fine; ``basis="auto"``
# takes the pixels themselves. The scores of all bases are in the same units, bits per pixel and
# colour, and so are those of all schedules.

china = load_sample_image("china.jpg")
patches = extract_patches_2d(china, (16, 16), max_patches=4000, random_state=0)
X_train, X_test = patches[:3800], patches[3800:3850]
network = UNet(width=32, n_blocks=1)

untrained = GUDGenerator(basis="wavelet", network=network, max_iter=0).fit(X_train)
print(f"untrained:  {untrained.bits_per_dim(X_test):.2f} bits per value")
gen = GUDGenerator(basis="wavelet", network=network, max_time=12, random_state=0).fit(X_train)
print(f"12 seconds: {gen.bits_per_dim(X_test):.2f} bits per value, in {gen.basis_}")

# %%
# Patches have one law wherever they come from, and their network knows it after seconds. What is
# still missing after so short a time is what is far apart: straight edges, and one sky.

SampleGridDisplay.from_samples(
    X_test[:36].reshape(36, -1), gen.sample(36).reshape(36, -1), shape=(16, 16, 3), name="generated"
)

# %%
# One network, every schedule
# ---------------------------
# The network sees noise levels and no times. A softer or a harder order of generation can be put in
# place after training, and the bound tells how well the network knows the states on that way.

for softness in (np.inf, 1.0, 0.5):
    gen.schedule_ = SoftConditioningSchedule(softness=softness)
    print(f"softness {softness:>4}: {gen.bits_per_dim(X_test):.2f} bits per value")
