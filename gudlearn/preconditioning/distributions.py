r"""Laws of all components together: the denoiser before it learns, and how likely a row is.

A `JointDistribution` is marginals that a joint Gaussian tilts (``diffusion/joint``). In a `MixtureDistribution`
each of several such laws has a share :math:`\pi_m` of the rows. With the log-density
:math:`\ell_m(x)` of a noisy row under the Gaussian of each,

.. math::

    r_m \propto \pi_m e^{\ell_m(x)}, \quad
    E[x_0 | x] = \sum_m r_m \mu_m, \quad
    Var[x_{0,i} | x] = \sum_m r_m (v_{m,i} + (\mu_{m,i} - E[x_{0,i} | x])^2) .

With Gaussian marginals all of it is exact, up to the covariance_inflation about rows that fit no law: that of a
mixture of Gaussians with any covariances.
"""

import torch

from gudlearn.diffusion.noise import alpha
from gudlearn.preconditioning.joint import JointGaussian, covariance_inflation, n_observed

# Noise levels, of a unit variance, of a label that is known, and of one that is not.
_CERTAIN, _UNKNOWN = -9.0, 15.0


class JointDistribution:
    """Marginals, tilted by a joint Gaussian.

    Parameters
    ----------
    marginals : an object of ``diffusion/marginals``
        Of D components.
    joint : JointGaussian or None
        None leaves components independent. Beyond the D components it may hold what tells classes
        0, 1, ..., C apart: C values, the k-th of which is 1 for class k and 0 for others.
    """

    def __init__(self, marginals, joint=None):
        self.marginals, self.joint = marginals, joint

    def to(self, device=None, dtype=None):
        joint = None if self.joint is None else self.joint.to(device, dtype)
        return JointDistribution(self.marginals.to(device, dtype), joint)

    def posterior(self, x, gamma, labels=None, missing=None):
        """Mean and variance of x0 given x, each (B, D), and labels (B,) where it tells classes.

        The label C + 1 stands for none, and so does None. Of components that are missing, (B, D),
        if any, nothing is heard.
        """
        if self.joint is None:
            return self.marginals.posterior(x, gamma)
        d = x.shape[1]
        n_values = len(self.joint.mean) - d
        if n_values == 0:
            return self.marginals.posterior(*self.joint.condition_and_update(x, gamma, missing))
        if labels is None:
            labels = torch.full((len(x),), n_values + 1, device=x.device)
        values, level = _values_of(labels, self.joint.std[d:])
        unknown = labels > n_values
        if gamma.stride(0) == 0 and bool((unknown == unknown[0]).all()):
            gamma = torch.cat([gamma[:1], level[:1]], 1).expand(len(x), -1)
        else:
            gamma = torch.cat([gamma, level], 1)
        silent = missing
        if missing is not None:
            silent = torch.cat([missing, torch.zeros_like(values, dtype=torch.bool)], 1)
        heard = self.joint.condition(torch.cat([x, values], 1), gamma, silent)
        # A row is doubted for its values given the class, not for a rare class.
        distance = heard.distance - self._distances(d)[labels]
        seen = self.joint.update(heard, covariance_inflation(distance, n_observed(x, missing)))
        return self.marginals.posterior(*(part[:, :d] for part in seen))

    def _distances(self, d):
        """Squared distance of what is known of each label alone, 0 where that is nothing."""
        joint = self.joint
        mean, std, loadings = (part[d:] for part in (joint.mean, joint.std, joint.loadings))
        labels = torch.arange(len(std) + 2, device=std.device)
        return JointGaussian(mean, std, loadings).condition(*_values_of(labels, std)).distance


def _values_of(labels, std):
    """Values of this spread that tell classes apart, and their noise levels, each (B, C)."""
    n_values = len(std)
    level = torch.where(labels > n_values, _UNKNOWN, _CERTAIN).to(std)[:, None] + 2 * std.log()
    values = labels[:, None] == torch.arange(n_values, device=labels.device)
    return alpha(level) * values, level


class MixtureDistribution:
    """A mixture of laws.

    Parameters
    ----------
    shares : Tensor of shape (M,)
        Of the rows, summing to one.
    laws : list of M JointDistribution
        With a joint Gaussian each.
    """

    def __init__(self, shares, laws):
        self.shares, self.laws = shares, laws

    def to(self, device=None, dtype=None):
        laws = [law.to(device, dtype) for law in self.laws]
        return MixtureDistribution(self.shares.to(device, dtype), laws)

    def posterior(self, x, gamma, labels=None, missing=None):
        """Mean and variance of x0 given x, each (B, D), as of `JointDistribution`; labels tell nothing."""
        heard = [law.joint.condition(x, gamma, missing) for law in self.laws]
        distances = torch.stack([h.distance for h in heard])
        # Only a row that fits none of the clusters is doubted, and is not sure of the nearest.
        width = covariance_inflation(distances, n_observed(x, missing)).amin(0)
        pairs = list(zip(self.laws, heard, strict=True))
        log_dets = torch.stack([law.joint.log_det(h, gamma) for law, h in pairs])
        log_weights = self.shares.log()[:, None] - 0.5 * (distances / width + log_dets)
        weight = torch.softmax(log_weights, 0)[:, :, None]
        parts = [law.marginals.posterior(*law.joint.update(h, width)) for law, h in pairs]
        means, variances = (torch.stack(p) for p in zip(*parts, strict=True))
        mean = (weight * means).sum(0)
        return mean, (weight * (variances + (means - mean).square())).sum(0)
