r"""Laws of all components together: the denoiser before it learns, and how likely a row is.

A `JointLaw` is marginals that a joint Gaussian tilts (``diffusion/joint``). In a `ClusteredLaw`
each of several such laws has a share :math:`\pi_m` of the rows. With the log-density
:math:`\ell_m(x)` of a noisy row under the Gaussian of each,

.. math::

    r_m \propto \pi_m e^{\ell_m(x)}, \quad
    E[x_0 | x] = \sum_m r_m \mu_m, \quad
    Var[x_{0,i} | x] = \sum_m r_m (v_{m,i} + (\mu_{m,i} - E[x_{0,i} | x])^2) .

With Gaussian marginals all of it is exact, up to the doubt about rows that fit no law: that of a
mixture of Gaussians with any covariances.
"""

import torch

from gudlearn.diffusion.joint import doubt


class JointLaw:
    """Marginals, tilted by a joint Gaussian.

    Parameters
    ----------
    marginals : an object of ``diffusion/marginals``
    joint : JointGaussian or None
        None leaves components independent.
    """

    def __init__(self, marginals, joint=None):
        self.marginals, self.joint = marginals, joint

    def to(self, device=None, dtype=None):
        joint = None if self.joint is None else self.joint.to(device, dtype)
        return JointLaw(self.marginals.to(device, dtype), joint)

    def posterior(self, x, gamma):
        """Mean and variance of x0 given x, each (B, D)."""
        seen = (x, gamma) if self.joint is None else self.joint.absorb(x, gamma)
        return self.marginals.posterior(*seen)


class ClusteredLaw:
    """A mixture of laws.

    Parameters
    ----------
    shares : Tensor of shape (M,)
        Of the rows, summing to one.
    laws : list of M JointLaw
        With a joint Gaussian each.
    """

    def __init__(self, shares, laws):
        self.shares, self.laws = shares, laws

    def to(self, device=None, dtype=None):
        laws = [law.to(device, dtype) for law in self.laws]
        return ClusteredLaw(self.shares.to(device, dtype), laws)

    def posterior(self, x, gamma):
        """Mean and variance of x0 given x, each (B, D)."""
        heard = [law.joint.hear(x, gamma) for law in self.laws]
        distances = torch.stack([h.distance for h in heard])
        # Only a row that fits none of the clusters is doubted, and is not sure of the nearest.
        width = doubt(distances, x.shape[1]).amin(0)
        pairs = list(zip(self.laws, heard, strict=True))
        log_dets = torch.stack([law.joint.log_det(h, gamma) for law, h in pairs])
        log_weights = self.shares.log()[:, None] - 0.5 * (distances / width + log_dets)
        weight = torch.softmax(log_weights, 0)[:, :, None]
        parts = [law.marginals.posterior(*law.joint.tell(h, width)) for law, h in pairs]
        means, variances = (torch.stack(p) for p in zip(*parts, strict=True))
        mean = (weight * means).sum(0)
        return mean, (weight * (variances + (means - mean).square())).sum(0)
