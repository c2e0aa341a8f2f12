"""
Patches of a photograph
=======================

Noise can act on images in any basis, and one network serves every schedule. Here it acts in Haar
wavelets, so that schedules can tell coarse from fine; ``basis="auto"`` would use the pixels
themselves.

Training takes a few seconds to keep this page quick. Minutes give a better model: raise
``max_time``.
"""

import numpy as np
from sklearn.datasets import load_sample_image
from sklearn.feature_extraction.image import extract_patches_2d

from gudlearn import GUDGenerator, SampleGridDisplay, SoftConditioningSchedule, UNet

# %%
# A fit in wavelets
# -----------------
# The dtype of the patches says that their levels are whole numbers from 0 to 255. Scores are in
# bits per pixel and colour for every basis and every schedule, so they can be compared. Before
# training the model is one Gaussian for each coefficient (``preconditioning="gaussian"``).

china = load_sample_image("china.jpg")
patches = extract_patches_2d(china, (16, 16), max_patches=4000, random_state=0)
X_train, X_test = patches[:3800], patches[3800:3840]
gen = GUDGenerator(
    basis="wavelet", network=UNet(width=32, n_blocks=1), preconditioning="gaussian", max_iter=0,
    random_state=0,
).fit(X_train)  # fmt: skip
print(f"untrained:  {gen.bits_per_dim(X_test):.2f} bits per value")
gen.set_params(max_iter="auto", max_time=14).fit(X_train)
print(f"14 seconds: {gen.bits_per_dim(X_test):.2f} bits per value, in {gen.basis_}")

# %%
# The network learns colours and textures within seconds. Long-range structure takes longer:
# straight edges, and an even sky.

SampleGridDisplay.from_samples(
    X_test[:36].reshape(36, -1), gen.sample(36).reshape(36, -1), shape=(16, 16, 3), name="generated"
)

# %%
# One network, every schedule
# ---------------------------
# The network sees noise levels, not times. So a softer or a harder order of generation can be set
# after training. The bound shows how well the network knows the states along that path: best near
# the schedule that it was trained with.

print(f"as trained:   {gen.bits_per_dim(X_test):.2f} bits per value")
for softness in (np.inf, 2.0, 0.5):
    gen.schedule_ = SoftConditioningSchedule(softness=softness)
    print(f"softness {softness:>4}: {gen.bits_per_dim(X_test):.2f} bits per value")
