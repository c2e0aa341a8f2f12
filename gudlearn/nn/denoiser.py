r"""The denoiser: a posterior in closed form, plus a learned correction.

.. math:: \hat x_0 = \mu + c \; \mathrm{network}(\ldots, \gamma)

mu and c^2 are mean and variance of x0 given its own noisy value (``diffusion/marginals``), so
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

from gudlearn.preconditioning.kernels import WIDTHS
from gudlearn.preconditioning.marginals import GaussianMarginals


def tame(x):
    """The sign of x times log(1 + |x|): outliers stay within reach of the other inputs."""
    return x.sign() * torch.log1p(x.abs())


class Denoiser(nn.Module):
    """E[x0 given x], from marginals and a network.

    Parameters
    ----------
    network : nn.Module
        Called with inputs (B, C, D) and gamma (B, D), C = ``n_channels(marginals)``, and with
        labels (B,) where there are any. Answers with (B, D), or (B, 1 + G, D) where it also says
        how far to go towards each of G guesses.
    marginals : an object of ``diffusion/marginals``
    law : an object of ``diffusion/laws`` or None
        What components say of each other before anything is learned; None is nothing.
    kernels : RowKernels or None
        Rows to look up.
    missing_above : Tensor of shape (D,) or None
        Noise levels above which components are missing; None is never.
    """

    # Standard deviations below this share of a component's own are noise of rounding.
    FLOOR = 1e-5

    def __init__(self, network, marginals, law=None, kernels=None, missing_above=None):
        super().__init__()
        self.network, self.marginals, self.law, self.kernels = network, marginals, law, kernels
        self.missing_above = missing_above

    @staticmethod
    def n_channels(marginals, law=None, kernels=None):
        """Inputs per component: for one Gaussian mu and c are functions of its x and gamma."""
        alone = 1 if law is None and isinstance(marginals, GaussianMarginals) else 3
        return alone if kernels is None else alone + 2 * len(WIDTHS)

    def averaging(self, network):
        """The same denoiser of another network."""
        return Denoiser(network, self.marginals, self.law, self.kernels, self.missing_above)

    def to(self, device=None, dtype=None):
        """Move the network, the marginals, the law, the kernels and what tells the missing."""
        self.marginals = self.marginals.to(device, dtype)
        self.law = None if self.law is None else self.law.to(device, dtype)
        self.kernels = None if self.kernels is None else self.kernels.to(device, dtype)
        above = self.missing_above
        self.missing_above = None if above is None else above.to(device, dtype)
        return super().to(device=device, dtype=dtype)

    def inputs(self, x, gamma, mu, c):
        """What the network sees, (B, C, D).

        A network of components sees tame tails, and the less of a state the more of it is noise:
        it would have to learn to overlook what is not decided yet. A network of images sees what
        it can rotate, of unit size: the state and mu alone.
        """
        m, variance = self.marginals.mean, self.marginals.variance
        a2, s2 = torch.sigmoid(-gamma), torch.sigmoid(gamma)
        state = (x - a2.sqrt() * m) * torch.rsqrt(a2 * variance + s2)
        scale = variance.sqrt()
        if getattr(self.network, "sees_images", False):
            return torch.stack([state, mu / scale], 1)
        state = tame(state) * torch.sigmoid(variance.log() - gamma).sqrt()
        if self.n_channels(self.marginals, self.law) == 1:
            return state[:, None]
        return torch.stack([state, tame((mu - m) / scale), (c / scale).log() / 4], 1)

    def guesses(self, x, gamma, mu, c, own=None):
        """Where kernels place x0, in units that are no smaller than c, and c in these units.

        Each of shape (B, H, D). Where c is far smaller than what kernels can tell, the former is
        nothing.
        """
        with torch.autocast(x.device.type, enabled=False):
            means, variances = self.kernels.posteriors(x, gamma, own)
        unit = (c.square()[:, None] + variances).sqrt()
        return tame((means - mu[:, None]) / unit), c[:, None] / unit

    def split(self, x, gamma, *labels, own=None):
        """The marginals' mean and all that is added to it; their sum denoises x (B, D)."""
        mu, correction = self.parts(x, gamma, *labels, own=own)
        if self.law is None:
            return mu, correction
        alone, _ = self.marginals.posterior(x, gamma)
        return alone, mu - alone + correction

    def parts(self, x, gamma, *labels, own=None):
        """The mean mu before anything is learned, and the network's correction, each (B, D).

        What kernels say leaves out the remembered row ``own``, (B,), see `RowKernels`. What is
        missing stands at its mean, and its noise is not heard.
        """
        missing = None
        if self.missing_above is not None:
            missing = gamma > self.missing_above
            x = torch.where(missing, torch.sigmoid(-gamma).sqrt() * self.marginals.mean, x)
        if self.law is None:
            mu, variance = self.marginals.posterior(x, gamma)
        else:
            with torch.autocast(x.device.type, enabled=False):
                mu, variance = self.law.posterior(x, gamma, *labels, missing=missing)
        c = (variance + self.FLOOR**2 * self.marginals.variance).sqrt()
        inputs = self.inputs(x, gamma, mu, c)
        if self.kernels is None:
            return mu, c * self.network(inputs, gamma, *labels)
        guesses, units = self.guesses(x, gamma, mu, c, own)
        answer = self.network(torch.cat([inputs, guesses, units], 1), gamma, *labels)
        if answer.ndim == 3:
            answer = answer[:, 0] + (answer[:, 1:] * guesses).sum(1)
        return mu, c * answer

    def forward(self, x, gamma, *labels, own=None):
        """Denoise x (B, D) at noise levels gamma (B, D), given labels (B,) if there are any."""
        mu, correction = self.parts(x, gamma, *labels, own=own)
        return mu + correction


class Conditioned:
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
    own : LongTensor of shape (n,) or None
        The remembered rows that rows are, see `RowKernels`.

    References
    ----------
    Ho, Salimans (2021), https://arxiv.org/abs/2207.12598
    """

    def __init__(self, denoiser, labels=None, *, guidance=1.0, null=0, autocast=None, own=None):
        self.denoiser, self.labels, self.guidance = denoiser, labels, guidance
        self.null, self.autocast, self.own = null, autocast, own

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
        if self.own is not None:
            terms = partial(terms, own=self.own.repeat(len(x) // len(self.own)))
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
