r"""The denoiser: a posterior in closed form, plus a learned correction.

.. math:: \hat x_0 = \mu + c \; \mathrm{network}(\ldots, \gamma)

mu and c^2 are mean and variance of x0 given its self_index noisy value (``diffusion/marginals``), so
a network that outputs zero is the exact denoiser of the product of the marginals. With one
Gaussian per component this is the preconditioning of Karras et al. (2022),
https://arxiv.org/abs/2206.00364, component by component. With a law of all
components together (``diffusion/laws``) they are those given all noisy values: a network that
outputs zero is then the exact denoiser of a Gaussian, or of a mixture of Gaussians. With remembered
rows (``diffusion/kernels``) the network sees what kernel densities around them say, and how far to
go there is part of its answer.
"""

from contextlib import nullcontext
from functools import partial

import torch
from torch import nn



def symlog(x):
    """The sign of x times log(1 + |x|): outliers stay within reach of the other inputs."""
    return x.sign() * torch.log1p(x.abs())


class Denoiser(nn.Module):
    """E[x0 given x], from marginals and a network.

    Parameters
    ----------
    network : nn.Module
        Called with inputs (B, C, D) and gamma (B, D), C = ``n_channels(marginals)``, and with
        labels (B,) where there are any. Answers with (B, D), or (B, 1 + G, D) where it also says
        how far to go towards each of G estimates.
    marginals : an object of ``diffusion/marginals``
    law : an object of ``diffusion/laws`` or None
        What components say of each other before anything is learned; None is nothing.
    kernels : KernelDensities or None
        Rows to look up.
    missing_above : Tensor of shape (D,) or None
        Noise levels above which components are missing; None is never.
    """

    # Standard deviations below this share of a component's self_index are noise of rounding.
    FLOOR = 1e-5

    def __init__(self, network, marginals, distribution=None, kernels=None, missing_above=None):
        super().__init__()
        self.network, self.marginals, self.distribution, self.kernels = network, marginals, distribution, kernels
        self.missing_above = missing_above

    @staticmethod
    def n_channels(marginals, distribution=None, kernels=None):
        """Inputs per component: for one Gaussian mu and c are functions of its x and gamma."""
        alone = 1 if distribution is None and marginals.is_gaussian else 3
        return alone if kernels is None else alone + 2 * kernels.n_bandwidths

    def averaging(self, network):
        """The same denoiser of another network."""
        return Denoiser(network, self.marginals, self.distribution, self.kernels, self.missing_above)

    def to(self, device=None, dtype=None):
        """Move the network, the marginals, the distribution, the kernels and what tells the missing."""
        self.marginals = self.marginals.to(device, dtype)
        self.distribution = None if self.distribution is None else self.distribution.to(device, dtype)
        self.kernels = None if self.kernels is None else self.kernels.to(device, dtype)
        above = self.missing_above
        self.missing_above = None if above is None else above.to(device, dtype)
        return super().to(device=device, dtype=dtype)

    def inputs(self, x, gamma, mu, c):
        """What the network sees, (B, C, D).

        A network of components sees symlog tails, and the less of a state the more of it is noise:
        it would have to learn to overlook what is not decided yet. A network of images sees what
        it can rotate, of unit size: the state and mu alone.
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
        """Where kernels place x0, in units that are no smaller than c, and c in these units.

        Each of shape (B, H, D). Where c is far smaller than what kernels can tell, the former is
        nothing.
        """
        with torch.autocast(x.device.type, enabled=False):
            means, variances = self.kernels.posteriors(x, gamma, self_index)
        unit = (c.square()[:, None] + variances).sqrt()
        return symlog((means - mu[:, None]) / unit), c[:, None] / unit

    def split(self, x, gamma, *labels, self_index=None):
        """The marginals' mean and all that is added to it; their sum denoises x (B, D)."""
        mu, correction = self.parts(x, gamma, *labels, self_index=self_index)
        if self.distribution is None:
            return mu, correction
        alone, _ = self.marginals.posterior(x, gamma)
        return alone, mu - alone + correction

    def parts(self, x, gamma, *labels, self_index=None):
        """The mean mu before anything is learned, and the network's correction, each (B, D).

        What kernels say leaves out the remembered row ``self_index``, (B,), see `KernelDensities`. What is
        missing stands at its mean, and its noise is not heard.
        """
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
        inputs = self.inputs(x, gamma, mu, c)
        if self.kernels is None:
            return mu, c * self.network(inputs, gamma, *labels)
        estimates, units = self.estimates(x, gamma, mu, c, self_index)
        answer = self.network(torch.cat([inputs, estimates, units], 1), gamma, *labels)
        if answer.ndim == 3:
            answer = answer[:, 0] + (answer[:, 1:] * estimates).sum(1)
        return mu, c * answer

    def forward(self, x, gamma, *labels, self_index=None):
        """Denoise x (B, D) at noise levels gamma (B, D), given labels (B,) if there are any."""
        mu, correction = self.parts(x, gamma, *labels, self_index=self_index)
        return mu + correction


class LabelledDenoiser:
    """A denoiser given labels, in the arithmetic of its device; what solvers and scores call.

    Parameters
    ----------
    denoiser : Denoiser
    labels : LongTensor of shape (n,) or None
        Rows come in multiples of n, all n of them again and again.
    guidance : float
        Weight of the difference between the denoiser given the labels and the one given the null
        label: 1 is the model of the class, above it classes are exaggerated.
    null : int
        The label that stands for none.
    autocast : torch.dtype or None
        Type of the hidden layers' arithmetic; None leaves it to the context.
    self_index : LongTensor of shape (n,) or None
        The remembered rows that rows are, see `KernelDensities`.

    References
    ----------
    Ho, Salimans (2021), https://arxiv.org/abs/2207.12598
    """

    def __init__(self, denoiser, labels=None, *, guidance=1.0, null=0, autocast=None, self_index=None):
        self.denoiser, self.labels, self.guidance = denoiser, labels, guidance
        self.null, self.autocast, self.self_index = null, autocast, self_index

    def split(self, x, gamma):
        """The marginals' mean and what is added to it, see `Denoiser.split`."""
        return self._guided(self.denoiser.split, x, gamma)

    def __call__(self, x, gamma):
        """Denoise x (B, D) at noise levels gamma (B, D)."""
        mu, correction = self._guided(self.denoiser.parts, x, gamma)
        return mu + correction

    def _guided(self, terms, x, gamma):
        """Two terms of the denoiser, the second one pushed along by the labels."""
        cast = self.autocast is not None
        if self.self_index is not None:
            terms = partial(terms, self_index=self.self_index.repeat(len(x) // len(self.self_index)))
        with torch.autocast(x.device.type, self.autocast) if cast else nullcontext():
            if self.labels is None:
                return terms(x, gamma)
            labels = self.labels.repeat(len(x) // len(self.labels))
            mu, correction = terms(x, gamma, labels)
            if self.guidance != 1:
                start, plain = terms(x, gamma, torch.full_like(labels, self.null))
                # What is not learned may know of labels, too.
                plain = start - mu + plain
                correction = plain + self.guidance * (correction - plain)
            return mu, correction
