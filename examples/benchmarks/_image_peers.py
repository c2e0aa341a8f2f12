r"""Image diffusion models of other libraries, and the bits/dim of any denoiser of white noise.

A denoiser is a function (x, gamma) -> E[x0 | x] of x = alpha x0 + sigma eps, shape (B, c, h, w),
where x0 = k/127.5 - 1 is an image of levels k = 0, ..., 255 and gamma = log(sigma^2/alpha^2), one
for each image. The bound (Kingma et al. 2021, https://arxiv.org/abs/2107.00630)

.. math::

    -\log p(k) \le KL(q(x_1|x_0) \| prior) - E \log p(k | y)
    + \tfrac12 \int_{\gamma_0}^{\gamma_1} E \frac{\alpha^2}{\sigma^2} |x_0 - \hat x_0|^2 d\gamma

holds for every function of (x, gamma). At gamma_0 the data have white noise of tau bins,
y = k + tau eps, and p(k|y) is proportional to exp(-(y - k)^2/(2 tau^2)) over the 256 levels. The
prior is N(0, alpha^2 V + sigma^2) in every dimension, with the fixed V below.

Every `fit_*` takes uint8 images (n, h, w, c), the seconds of training, the number of weights and a
seed, and returns a denoiser and a dict of what was run.
"""

from __future__ import annotations

import copy
import math
import time

import numpy as np
import torch
from _where import versions

LEVELS = 256
HALF_RANGE = (LEVELS - 1) / 2
# Any value gives a valid bound; this one is near the mean square of photographs in [-1, 1].
PRIOR_VARIANCE = 0.25
# At small tau a denoiser that ignores the grid of levels pays for it, at large tau blur costs.
TAUS = (0.15, 0.25, 0.35, 0.5, 0.7, 1.0, 1.5, 2.2)

# Its multiples modulo 1 are evenly spaced, whatever their number.
GOLDEN = (math.sqrt(5) - 1) / 2


# ---------------------------------------------------------------- bits per dimension


def gamma_of_tau(tau):
    """Negative log-SNR of white noise of tau bins."""
    return 2 * math.log(tau / HALF_RANGE)


def reconstruction_bits(tau):
    """Mean of -log2 p(k | k + tau eps) over the normal eps, for each level k; (256,), float64."""
    eps = np.linspace(-8, 8, 1601)
    weight = np.exp(-0.5 * eps**2)
    # For |eps| <= 8 the weight of more distant levels is negligible.
    reach = math.ceil(16 * tau) + 2
    offset = np.arange(-reach, reach + 1)
    exponent = eps[:, None] ** 2 / 2 - (tau * eps[:, None] - offset) ** 2 / (2 * tau**2)
    bits = np.empty(LEVELS)
    for k in range(LEVELS):
        inside = (k + offset >= 0) & (k + offset < LEVELS)
        bits[k] = weight @ np.log2(np.exp(exponent[:, inside]).sum(1)) / weight.sum()
    return bits


def white_divergence(x0, gamma):
    """KL of q(x | x0) from N(0, alpha^2 V + sigma^2), summed over each row; (n,), in nats."""
    ratio = PRIOR_VARIANCE * math.exp(-gamma)
    mean_square = x0.double().square().mean(1)
    inner = (mean_square / PRIOR_VARIANCE * ratio + 1) / (ratio + 1) - 1 + math.log1p(ratio)
    return 0.5 * x0.shape[1] * inner


def strata(taus, gamma_1, n_times):
    """Increasing edges of about n_times equal strata of gamma, including every gamma_0."""
    ends = [*(gamma_of_tau(tau) for tau in sorted(taus)), gamma_1]
    width = (ends[-1] - ends[0]) / n_times
    edges = [ends[:1]]
    for low, high in zip(ends[:-1], ends[1:], strict=True):
        edges.append(np.linspace(low, high, max(1, round((high - low) / width)) + 1)[1:])
    return np.concatenate(edges)


def excess(denoise, x0, gamma, generator):
    """One draw of the integrand minus that of the denoiser of N(0, V); (n,), in nats.

    The integral of the latter is known: `white_divergence` at gamma_0 minus its value at gamma_1.
    As a control variate it removes the variance of |eps|^2, the largest part at low gamma.
    """
    gamma_of_image = gamma[:, None, None, None]
    alpha, sigma = torch.sigmoid(-gamma_of_image).sqrt(), torch.sigmoid(gamma_of_image).sqrt()
    x = alpha * x0 + sigma * torch.randn(x0.shape, generator=generator)
    reference = alpha * PRIOR_VARIANCE / (alpha**2 * PRIOR_VARIANCE + sigma**2) * x
    error, control = (x0 - denoise(x, gamma)).double(), (x0 - reference).double()
    difference = (error.square() - control.square()).flatten(1).sum(1)
    return 0.5 * torch.exp(-gamma.double()) * difference


@torch.no_grad()
def denoiser_bits(denoise, X, *, tau=TAUS, log_sigma_max=4.0, n_times=32, seed, batch=100):
    """Bound on the bits per dimension of each image, for every tau.

    Parameters
    ----------
    denoise : callable (x, gamma) -> x0_hat
    X : ndarray of shape (n, h, w, c), uint8
    tau : sequence of float
        Noise, in bins, at which the diffusion may end; one integral serves all of them.
    log_sigma_max : float
        log(sigma/alpha) at which it begins.
    n_times : int
        Approximate number of noise levels for each image, stratified, linear in gamma.
    seed, batch : int

    Returns
    -------
    bits : dict from tau to ndarray of shape (n,), float64
    """
    generator = torch.Generator().manual_seed(seed)
    edges = strata(tau, 2 * log_sigma_max, n_times)
    low, high = torch.from_numpy(edges[:-1]), torch.from_numpy(edges[1:])
    levels = torch.from_numpy(np.ascontiguousarray(X)).movedim(3, 1)
    golden = torch.arange(batch, dtype=torch.float64) * GOLDEN
    integral = torch.zeros(len(edges) - 1, len(X), dtype=torch.float64)
    for start in range(0, len(X), batch):
        x0 = levels[start : start + batch].float() / HALF_RANGE - 1
        for j in range(len(low)):
            # Evenly spaced over the images, because all pixels of an image share a noise level.
            u = torch.rand(1, generator=generator, dtype=torch.float64) + golden[: len(x0)]
            gamma = (low[j] + (high[j] - low[j]) * (u % 1)).float()
            value = excess(denoise, x0, gamma, generator)
            integral[j, start : start + batch] = (high[j] - low[j]) * value
    x0 = (levels.double() / HALF_RANGE - 1).flatten(1)
    bits = {}
    for t in tau:
        gamma_0 = gamma_of_tau(t)
        diffusion = integral[low >= gamma_0 - 1e-9].sum(0) + white_divergence(x0, gamma_0)
        observed = torch.from_numpy(reconstruction_bits(t))[levels.flatten(1).long()].mean(1)
        bits[t] = (diffusion / (math.log(2) * x0.shape[1]) + observed).numpy()
    return bits


# ---------------------------------------------------------------- training


class Average:
    """Exponential moving average of weights, with a decay that grows to the given one.

    With a decay of (1 + n)/(10 + n), update n averages over the last tenth of the run. A fixed
    0.999 would still contain the initial weights after a thousand steps, and ema-pytorch's
    1 - n^(-2/3) the early ones.
    """

    def __init__(self, model, decay, every):
        self.model = copy.deepcopy(model).requires_grad_(False)
        self.decay, self.every, self.steps = decay, every, 0

    @torch.no_grad()
    def update(self, model):
        """Count a step of the model, and include every `every`-th in the average."""
        self.steps += 1
        if self.steps % self.every:
            return
        n = self.steps // self.every
        weight = 1 - min(self.decay, (1 + n) / (10 + n))
        for mean, value in zip(self.model.parameters(), model.parameters(), strict=True):
            mean.lerp_(value, weight)


def batches(train, batch_size, generator):
    """Endless shuffled batches of images in [0, 1], half of them flipped left to right."""
    images = torch.from_numpy(np.ascontiguousarray(train)).movedim(3, 1)
    while True:
        order = torch.randperm(len(images), generator=generator)
        for rows in order.split(batch_size)[: len(order) // batch_size]:
            x = images[rows].float() / 255
            flip = torch.rand(len(x), generator=generator) < 0.5
            yield torch.where(flip[:, None, None, None], x.flip(3), x)


def training_step(model, optimizer, loss, x, precision, max_norm):
    """One step of the optimizer, with autocast if the precision is bfloat16."""
    x = x.contiguous(memory_format=PRECISIONS[precision])
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        value = loss(model, x)
    optimizer.zero_grad()
    value.backward()
    if max_norm is not None:
        torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    optimizer.step()


PRECISIONS = {"float32": torch.contiguous_format, "bfloat16": torch.channels_last}


def faster_precision(model, make_optimizer, loss, draw, max_norm, seconds):
    """Name of the precision with the shorter median step on a copy, and steps per second of each.

    The steps alternate, so that other work on the machine slows both equally.
    """
    trials, durations = {}, {precision: [] for precision in PRECISIONS}
    for precision, layout in PRECISIONS.items():
        trial = copy.deepcopy(model).to(memory_format=layout)
        trials[precision] = trial, make_optimizer(trial.parameters())
    start = time.perf_counter()
    while len(durations["float32"]) < 4 or time.perf_counter() - start < 2 * seconds:
        x = next(draw)
        for precision, trial in trials.items():
            began = time.perf_counter()
            training_step(*trial, loss, x, precision, max_norm)
            durations[precision].append(time.perf_counter() - began)
    # The first step of each compiles its kernels.
    rates = {precision: 1 / float(np.median(d[1:])) for precision, d in durations.items()}
    return max(rates, key=rates.get), rates


def fit(model, loss, train, seconds, seed, settings, probe_seconds):
    """Train by the wall clock; return the averaged model and what was run.

    The precision is chosen before the clock starts.
    """

    def make_optimizer(parameters):
        return torch.optim.Adam(parameters, lr=settings["lr"], betas=settings["betas"])

    draw = batches(train, settings["batch_size"], torch.Generator().manual_seed(seed))
    max_norm = settings["max_norm"]
    precision, rates = faster_precision(model, make_optimizer, loss, draw, max_norm, probe_seconds)
    model = model.to(memory_format=PRECISIONS[precision])
    average = Average(model, settings["ema_decay"], settings["ema_every"])
    optimizer = make_optimizer(model.parameters())
    start, steps = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        training_step(model, optimizer, loss, next(draw), precision, max_norm)
        average.update(model)
        steps += 1
    info = {
        "n_weights": count(model),
        "steps": steps,
        "images": steps * settings["batch_size"],
        "precision": precision,
        "steps_per_second": {name: round(rate, 3) for name, rate in rates.items()},
        "settings": settings,
    }
    return average.model.eval(), info


def count(model):
    """Return the number of weights."""
    return sum(p.numel() for p in model.parameters())


def nearest_width(build, widths, n_weights):
    """Return the width whose model has the nearest number of weights, on a scale of ratios."""
    with torch.device("meta"):
        return min(widths, key=lambda width: abs(math.log(count(build(width)) / n_weights)))


# ---------------------------------------------------------------- azula


def azula_backbone(width):
    """U-Net of azula's CIFAR-10 tutorial, which has width 128, without labels.

    `azula.nn.UNet` has no attention since version 0.11.
    """
    from azula.nn.layers import SineEncoding
    from azula.nn.unet import UNet

    class Backbone(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.encoding = SineEncoding(2 * width)
            self.unet = UNet(
                3,
                3,
                hid_channels=(width, 2 * width, 3 * width),
                hid_blocks=(3, 3, 3),
                mod_features=2 * width,
            )

        def forward(self, x, t):
            return self.unet(x, self.encoding(t))

    return Backbone()


AZULA = {
    "batch_size": 256,
    "lr": 1e-4,
    "betas": (0.9, 0.999),
    "max_norm": None,
    "ema_decay": 0.999,
    "ema_every": 1,
}


def fit_azula(train, seconds, n_weights, seed, threads=2, probe_seconds=10, **changes):
    """azula's CIFAR-10 tutorial: KarrasDenoiser, VPSchedule, its U-Net, Adam, flips, EMA.

    `changes` replace entries of AZULA.
    """
    from azula.denoise import KarrasDenoiser
    from azula.noise import VPSchedule

    torch.set_num_threads(threads)

    def loss(model, x):
        return model.loss(2 * x - 1, torch.rand(len(x)))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        width = nearest_width(azula_backbone, range(8, 260, 4), n_weights)
        model = KarrasDenoiser(azula_backbone(width), VPSchedule())
        settings = AZULA | changes
        model, info = fit(model, loss, train, seconds, seed, settings, probe_seconds)

    def by_gamma(gamma):
        return torch.sigmoid(-gamma).sqrt(), torch.sigmoid(gamma).sqrt()

    # The preconditioned network sees log(sigma/alpha) only, so the schedule can be replaced.
    model.schedule = by_gamma

    def denoise(x, gamma):
        return model(x, gamma).mean

    return denoise, info | {"width": width, "versions": versions("azula")}


# ---------------------------------------------------------------- denoising-diffusion-pytorch

DDPM = {
    "batch_size": 32,
    "lr": 8e-5,
    "betas": (0.9, 0.99),
    "max_norm": 1.0,
    "ema_decay": 0.995,
    "ema_every": 10,
}


def ddpm_unet(width):
    """U-Net of the README of denoising-diffusion-pytorch, which has width 64."""
    from denoising_diffusion_pytorch import Unet

    return Unet(dim=width, dim_mults=(1, 2, 4, 8), flash_attn=False)


def fit_ddpm(train, seconds, n_weights, seed, threads=2, probe_seconds=10, **changes):
    """denoising-diffusion-pytorch: the defaults of GaussianDiffusion, Trainer and the README.

    `changes` replace entries of DDPM. The README accumulates two batches for a step; one batch
    gives twice the number of steps in the same time.
    """
    from denoising_diffusion_pytorch import GaussianDiffusion

    torch.set_num_threads(threads)

    def loss(model, x):
        return model(x)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        width = nearest_width(ddpm_unet, range(8, 130, 2), n_weights)
        model = GaussianDiffusion(ddpm_unet(width), image_size=train.shape[1:3], timesteps=1000)
        settings = DDPM | changes
        model, info = fit(model, loss, train, seconds, seed, settings, probe_seconds)
    packages = versions("denoising-diffusion-pytorch")
    return ddpm_denoiser(model), info | {"width": width, "versions": packages}


def ddpm_denoiser(model):
    r"""Denoiser of a GaussianDiffusion that predicts v, at every gamma.

    Between its time steps the time is interpolated. Below the first step (2.2 bins of noise) the
    score of x/alpha is held constant, which by Tweedie's formula scales the correction by
    :math:`\sigma^2/\sigma_{first}^2`; above the last step its time is used.
    """
    signal = model.alphas_cumprod.double()
    table = torch.log1p(-signal).sub(signal.log()).numpy()
    steps = np.arange(len(table))

    def denoise(x, gamma):
        inside = gamma.double().clamp(table[0], table[-1])
        t = torch.from_numpy(np.interp(inside.numpy(), table, steps)).float()
        gamma, inside = gamma[:, None, None, None], inside.float()[:, None, None, None]
        scaled = x / torch.sigmoid(-gamma).sqrt()
        state = torch.sigmoid(-inside).sqrt() * scaled
        v = model.model(state, t)
        x0 = torch.sigmoid(-inside).sqrt() * state - torch.sigmoid(inside).sqrt() * v
        return scaled + torch.exp((gamma - inside).clamp(max=0)) * (x0 - scaled)

    return denoise


PEERS = {"azula": fit_azula, "ddpm": fit_ddpm}
