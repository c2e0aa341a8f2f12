r"""The denoiser: a posterior in closed form plus a learned correction.

.. math:: \hat x_0 = \mu + c \; \mathrm{network}(\ldots, \gamma)

mu and c^2 are the mean and variance of each component of x0 given its own noisy value
(`gudlearn.preconditioning.marginals`), so a network that outputs zero is the exact denoiser of the
product of the marginals. With one Gaussian per component this is the preconditioning of Karras et
al. (2022), https://arxiv.org/abs/2206.00364, component by component. With a joint distribution
(`gudlearn.preconditioning.distributions`) mu and c^2 are conditioned on all noisy values; a network
that outputs zero is then the exact denoiser of a Gaussian or of a mixture of Gaussians. With latent
classes (`gudlearn.preconditioning.latent_classes`) categories start from the exact posterior of a
mixture, to whose log-probabilities the network's outputs are added. With a
reference set (`gudlearn.preconditioning.kernels`) the network also sees kernel density estimates of
x0, and outputs how far to move towards each.
"""

import copy
from contextlib import nullcontext
from functools import partial

import torch
from torch import nn


def symlog(x):
    """Return sign(x) log(1 + |x|), which keeps outliers within the range of other inputs."""
    return x.sign() * torch.log1p(x.abs())


class Denoiser(nn.Module):
    """E[x0 given x] from marginals and a network.

    Parameters
    ----------
    network : nn.Module
        Called with inputs (B, C, D), C = ``n_channels(marginals)``, gamma (B, D), and labels (B,)
        if there are any. Its output is (B, D), or (B, 1 + G, D) if it also weights G estimates.
    marginals : an object of `gudlearn.preconditioning.marginals`
    distribution : an object of `gudlearn.preconditioning.distributions` or None
        Joint distribution of the components; None treats them as independent.
    kernels : KernelDensities or None
        Kernel densities around a reference set.
    missing_above : Tensor of shape (D,) or None
        Noise levels above which a component is missing; None: no component is ever missing.
    categories : CategoryMarginals or None
        Closed-form distribution of the categories, the last components of x; None without any.
    network_dtype : torch.dtype or None
        Dtype of the network, if it is not that of the state.
    """

    # A smaller posterior standard deviation, relative to the component's own, is rounding error.
    FLOOR = 1e-5

    def __init__(
        self, network, marginals, distribution=None, kernels=None, missing_above=None,
        categories=None, network_dtype=None,
    ):  # fmt: skip
        super().__init__()
        self.network, self.marginals = network, marginals
        self.distribution, self.kernels = distribution, kernels
        self.missing_above, self.categories = missing_above, categories
        self._network_dtype = network_dtype

    @staticmethod
    def n_channels(marginals, distribution=None, kernels=None):
        """Return the number of network inputs per component.

        One Gaussian per component needs a single input: mu and c are functions of x and gamma.
        """
        n_channels = 1 if distribution is None and marginals.is_gaussian else 3
        return n_channels if kernels is None else n_channels + 2 * kernels.n_bandwidths

    @property
    def joint_gaussian(self):
        """The `JointGaussian` of the numeric components; None without one, or with several."""
        joint = getattr(self.distribution, "joint", None)
        return None if joint is None else joint.first(len(self.marginals.mean))

    def averaging(self, network):
        """Return the same denoiser around another network."""
        return Denoiser(
            network, self.marginals, self.distribution, self.kernels, self.missing_above,
            self.categories,
        )  # fmt: skip

    def with_network_in(self, dtype):
        """Return the same denoiser with a copy of its network in another dtype."""
        return Denoiser(
            copy.deepcopy(self.network).to(dtype), self.marginals, self.distribution, self.kernels,
            self.missing_above, self.categories, network_dtype=dtype,
        ).eval()  # fmt: skip

    def _evaluate(self, inputs, gamma, labels, one_hot):
        """Output of the network and, with categories, of its logits; in the inputs' dtype."""
        given, dtype = {} if one_hot is None else {"one_hot": one_hot}, self._network_dtype
        if dtype is None:
            return self.network(inputs, gamma, *labels, **given)
        given = {name: part.to(dtype) for name, part in given.items()}
        out = self.network(inputs.to(dtype), gamma.to(dtype), *labels, **given)
        if one_hot is None:
            return out.to(gamma.dtype)
        return tuple(None if part is None else part.to(gamma.dtype) for part in out)

    def to(self, device=None, dtype=None):
        """Move the network and all closed-form parts to a device and a dtype."""

        def moved(part):
            return None if part is None else part.to(device, dtype)

        self.marginals, self.distribution = moved(self.marginals), moved(self.distribution)
        self.kernels, self.missing_above = moved(self.kernels), moved(self.missing_above)
        self.categories = moved(self.categories)
        return super().to(device=device, dtype=dtype)

    def inputs(self, x, gamma, mu, c):
        """Return the network inputs (B, C, D).

        For a table the state is squashed by symlog and multiplied by the square root of its signal
        fraction: the network need not learn to ignore noise. An image network gets the state and
        mu alone, both of unit size and unsquashed, so that it can rotate them.
        """
        m, variance = self.marginals.mean, self.marginals.variance
        a2, s2 = torch.sigmoid(-gamma), torch.sigmoid(gamma)
        state = (x - a2.sqrt() * m) * torch.rsqrt(a2 * variance + s2)
        scale = variance.sqrt()
        if getattr(self.network, "sees_images", False):
            return torch.stack([state, mu / scale], 1)
        state = symlog(state) * torch.sigmoid(variance.log() - gamma).sqrt()
        if self.n_channels(self.marginals, self.distribution) == 1:
            return state[:, None]
        return torch.stack([state, symlog((mu - m) / scale), (c / scale).log() / 4], 1)

    def estimates(self, x, gamma, mu, c, self_index=None):
        """Return the kernels' estimates of x0 relative to mu, and c, in a common unit.

        The unit is sqrt(c^2 + variance of the kernel's posterior): where c is much smaller than
        the kernel's resolution, the estimate is close to zero.

        Returns
        -------
        estimates, relative_c : Tensor of shape (B, H, D)
            For each of H bandwidths.
        """
        with torch.autocast(x.device.type, enabled=False):
            means, variances = self.kernels.posteriors(x, gamma, self_index)
        unit = (c.square()[:, None] + variances).sqrt()
        return symlog((means - mu[:, None]) / unit), c[:, None] / unit

    def split(self, x, gamma, *labels, self_index=None):
        """Return the marginals' posterior mean and the rest; their sum denoises x (B, D)."""
        mu, correction = self.parts(x, gamma, *labels, self_index=self_index)
        has_classes = self.categories is not None and self.categories.classes is not None
        if self.distribution is None and not has_classes:
            return mu, correction
        log_pmf = None
        if self.categories is not None:
            x, gamma, one_hot = self.categories.split_state(x, gamma)
            log_pmf = self.categories.log_pmf.expand_as(one_hot)
        marginal_mean, n = mu[:, : x.shape[1]], x.shape[1]
        if self.distribution is not None:
            marginal_mean, _ = self.marginals.posterior(x, gamma)
        difference = mu[:, :n] - marginal_mean + correction[:, :n]
        if log_pmf is None:
            return marginal_mean, difference
        change = mu[:, n:] - log_pmf + correction[:, n:] if has_classes else correction[:, n:]
        return torch.cat([marginal_mean, log_pmf], 1), torch.cat([difference, change], 1)

    def parts(self, x, gamma, *labels, self_index=None):
        """Return the closed-form mean mu and the network's correction, each (B, D).

        Kernel estimates exclude the reference row ``self_index`` (B,), see `KernelDensities`.
        Missing components are replaced by their mean, so that their noise has no effect. With
        categories both are (B, D' + L): the numeric components, then log-probabilities of levels.
        """
        if self.categories is None:
            return self._numeric_parts(x, gamma, labels, self_index)
        x, gamma, one_hot = self.categories.split_state(x, gamma)
        start = self.categories.start(x, gamma, one_hot)
        if self.marginals is None:
            mu = correction = x
            _, logits = self._evaluate(x[:, None], gamma, labels, one_hot)
        else:
            mu, correction, logits = self._numeric_parts(x, gamma, labels, self_index, one_hot)
        change = self.categories.change(start, logits)
        return torch.cat([mu, start], 1), torch.cat([correction, change], 1)

    def _numeric_parts(self, x, gamma, labels, self_index, one_hot=None):
        """Closed-form mean and correction of numbers, and logits if there are categories."""
        missing = None
        if self.missing_above is not None:
            missing = gamma > self.missing_above
            x = torch.where(missing, torch.sigmoid(-gamma).sqrt() * self.marginals.mean, x)
        if self.distribution is None:
            mu, variance = self.marginals.posterior(x, gamma)
        else:
            with torch.autocast(x.device.type, enabled=False):
                mu, variance = self.distribution.posterior(x, gamma, *labels, missing=missing)
        c = (variance + self.FLOOR**2 * self.marginals.variance).sqrt()
        inputs, estimates = self.inputs(x, gamma, mu, c), None
        if self.kernels is not None:
            estimates, relative_c = self.estimates(x, gamma, mu, c, self_index)
            inputs = torch.cat([inputs, estimates, relative_c], 1)
        logits = ()
        if one_hot is None:
            out = self._evaluate(inputs, gamma, labels, None)
        else:
            out, *logits = self._evaluate(inputs, gamma, labels, one_hot)
        if out.ndim == 3:
            out = out[:, 0] + (out[:, 1:] * estimates).sum(1)
        return mu, c * out, *logits

    def forward(self, x, gamma, *labels, self_index=None):
        """Denoise x (B, D) at noise levels gamma (B, D), given labels (B,) if there are any."""
        mu, correction = self.parts(x, gamma, *labels, self_index=self_index)
        return mu + correction


class LabelledDenoiser:
    """A denoiser with fixed labels, as called by solvers and likelihoods.

    Parameters
    ----------
    denoiser : Denoiser
    labels : LongTensor of shape (n,) or None
        Labels of n rows. A batch is a whole number of repetitions of these n rows.
    guidance : float
        Scale w of classifier-free guidance: the correction is null + w (class - null). 1 is the
        conditional model; larger values exaggerate the classes.
    null : int
        The null label, which stands for no class.
    autocast : torch.dtype or None
        Autocast dtype of the hidden layers; None leaves the choice to the surrounding context.
    self_index : LongTensor of shape (n,) or None
        Reference rows that kernel estimates exclude, see `KernelDensities`.

    References
    ----------
    Ho, Salimans (2021), https://arxiv.org/abs/2207.12598
    """

    def __init__(
        self, denoiser, labels=None, *, guidance=1.0, null=0, autocast=None, self_index=None
    ):
        self.denoiser, self.labels, self.guidance = denoiser, labels, guidance
        self.null, self.autocast, self.self_index = null, autocast, self_index

    def split(self, x, gamma):
        """Return the marginals' posterior mean and the rest, see `Denoiser.split`."""
        return self._guided(self.denoiser.split, x, gamma)

    def __call__(self, x, gamma):
        """Denoise x (B, D) at noise levels gamma (B, D)."""
        mu, correction = self._guided(self.denoiser.parts, x, gamma)
        return mu + correction

    def _guided(self, terms, x, gamma):
        """Return both terms of the denoiser, guidance applied to the second."""
        if self.self_index is not None:
            self_index = self.self_index.repeat(len(x) // len(self.self_index))
            terms = partial(terms, self_index=self_index)
        has_dtype = self.autocast is not None
        with torch.autocast(x.device.type, self.autocast) if has_dtype else nullcontext():
            if self.labels is None:
                return terms(x, gamma)
            labels = self.labels.repeat(len(x) // len(self.labels))
            mu, correction = terms(x, gamma, labels)
            if self.guidance != 1:
                null_mu, null_correction = terms(x, gamma, torch.full_like(labels, self.null))
                # The closed-form mean may depend on the labels, too.
                null_correction = null_mu - mu + null_correction
                correction = null_correction + self.guidance * (correction - null_correction)
            return mu, correction
