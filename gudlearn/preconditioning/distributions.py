r"""Joint distributions of all components: the denoiser before training, in closed form.

A `JointDistribution` is a set of marginals, conditioned on all noisy values through a joint
Gaussian (`gudlearn.preconditioning.joint`). A `MixtureDistribution` is a mixture of several of
them with weights :math:`\pi_m`. With the log-density :math:`\ell_m(x)` of a noisy row under the
Gaussian of component m of the mixture,

.. math::

    r_m \propto \pi_m e^{\ell_m(x)}, \quad
    E[x_0 | x] = \sum_m r_m \mu_m, \quad
    Var[x_{0,i} | x] = \sum_m r_m (v_{m,i} + (\mu_{m,i} - E[x_{0,i} | x])^2) .

With Gaussian marginals this is the exact posterior of a mixture of Gaussians with any covariances,
except for rows that fit none of them (`covariance_inflation`).
"""

import torch

from gudlearn.diffusion.noise import alpha
from gudlearn.preconditioning.joint import (
    JointGaussian,
    covariance_inflation,
    marginal_distance,
    n_observed,
)

# Noise levels of an indicator of unit variance: of a class that is observed, and of one that is
# not.
_OBSERVED, _UNOBSERVED = -9.0, 15.0


class JointDistribution:
    """Marginals and a joint Gaussian that connects them.

    Parameters
    ----------
    marginals : an object of `gudlearn.preconditioning.marginals`
        Of D components.
    joint : JointGaussian or None
        None: components are independent. After the D components it may hold C indicators of
        classes 0, 1, ..., C: the k-th is 1 for class k and 0 for all others.
    """

    def __init__(self, marginals, joint=None):
        self.marginals, self.joint = marginals, joint

    def to(self, device=None, dtype=None):
        """Return a copy on a device and with a dtype."""
        joint = None if self.joint is None else self.joint.to(device, dtype)
        return JointDistribution(self.marginals.to(device, dtype), joint)

    def posterior(self, x, gamma, labels=None, missing=None):
        """Mean and variance of x0 given x.

        Parameters
        ----------
        x, gamma : Tensor of shape (B, D)
        labels : LongTensor of shape (B,) or None
            Classes of the rows; ignored without indicators of classes. C + 1 stands for an
            unknown class, and so does None.
        missing : BoolTensor of shape (B, D) or None
            Components whose values are ignored.

        Returns
        -------
        mean, variance : Tensor of shape (B, D)
        """
        if self.joint is None:
            return self.marginals.posterior(x, gamma)
        d = x.shape[1]
        n_indicators = len(self.joint.mean) - d
        if n_indicators == 0:
            return self.marginals.posterior(*self.joint.condition_and_update(x, gamma, missing))
        if labels is None:
            labels = torch.full((len(x),), n_indicators + 1, device=x.device)
        x_and_class, gamma, unused = self._with_indicators(x, gamma, labels, missing)
        conditionals = self.joint.condition(x_and_class, gamma, unused)
        # A row is far out by its values given the class, not because its class is rare.
        distance = conditionals.distance - self._class_distances(d)[labels]
        marginal = marginal_distance(conditionals, d)
        inflation = covariance_inflation(distance, n_observed(x, missing), marginal)
        updated = self.joint.update(conditionals, inflation)
        return self.marginals.posterior(*(part[:, :d] for part in updated))

    def _with_indicators(self, x, gamma, labels, missing):
        """The arguments of `posterior` with indicators of classes as further components."""
        indicators, gamma_class = _indicators(labels, self.joint.std[x.shape[1] :])
        unknown = labels > indicators.shape[1]
        if gamma.stride(0) == 0 and bool((unknown == unknown[0]).all()):
            gamma = torch.cat([gamma[:1], gamma_class[:1]], 1).expand(len(x), -1)
        else:
            gamma = torch.cat([gamma, gamma_class], 1)
        if missing is not None:
            missing = torch.cat([missing, torch.zeros_like(indicators, dtype=torch.bool)], 1)
        return torch.cat([x, indicators], 1), gamma, missing

    def _class_distances(self, d):
        """Squared distance of the indicators of each class, (C + 2,); 0 for the unknown class."""
        joint = self.joint
        mean, std, loadings = (part[d:] for part in (joint.mean, joint.std, joint.loadings))
        labels = torch.arange(len(std) + 2, device=std.device)
        return JointGaussian(mean, std, loadings).condition(*_indicators(labels, std)).distance


def _indicators(labels, std):
    """Indicators of classes with these standard deviations, and their noise levels; (B, C)."""
    n_indicators = len(std)
    gamma = torch.where(labels > n_indicators, _UNOBSERVED, _OBSERVED).to(std)
    gamma = gamma[:, None] + 2 * std.log()
    indicators = labels[:, None] == torch.arange(n_indicators, device=labels.device)
    return alpha(gamma) * indicators, gamma


class MixtureDistribution:
    """A mixture of joint distributions, one for each cluster of rows.

    Parameters
    ----------
    weights : Tensor of shape (M,)
        Mixture weights, which sum to one.
    components : list of M JointDistribution
        Each with a joint Gaussian.
    """

    def __init__(self, weights, components):
        self.weights, self.components = weights, components

    def to(self, device=None, dtype=None):
        """Return a copy on a device and with a dtype."""
        components = [component.to(device, dtype) for component in self.components]
        return MixtureDistribution(self.weights.to(device, dtype), components)

    def posterior(self, x, gamma, labels=None, missing=None):
        """Mean and variance of x0 given x, as in `JointDistribution`; labels are ignored."""
        if len(self.components) == 1:
            return self.components[0].posterior(x, gamma, missing=missing)
        parts = [(one, one.joint.condition(x, gamma, missing)) for one in self.components]
        distances = torch.stack([conditionals.distance for _, conditionals in parts])
        # Only a row that fits no cluster is far out; it then belongs to the nearest less surely.
        inflation = covariance_inflation(distances, n_observed(x, missing)).amin(0)
        log_dets = torch.stack([one.joint.log_det(c, gamma) for one, c in parts])
        log_weights = self.weights.log()[:, None] - 0.5 * (distances / inflation + log_dets)
        weight = torch.softmax(log_weights, 0)[:, :, None]
        posteriors = [one.marginals.posterior(*one.joint.update(c, inflation)) for one, c in parts]
        means, variances = (torch.stack(part) for part in zip(*posteriors, strict=True))
        mean = (weight * means).sum(0)
        return mean, (weight * (variances + (means - mean).square())).sum(0)
