"""A denoiser in training: its steps, the average of its weights, and what judges it."""

import copy
from typing import NamedTuple

import numpy as np
import torch

from gudlearn.conditioning.states import MISSING, TARGET, MaskedPath
from gudlearn.diffusion.likelihood import nll_correction
from gudlearn.diffusion.losses import AdaptiveTimes, TimeDensity, nll_integrand, noise_loss
from gudlearn.nn.denoiser import LabelledDenoiser


class Batch(NamedTuple):
    """Rows of training.

    Parameters
    ----------
    x0 : Tensor of shape (B, D)
    labels : LongTensor of shape (B,) or None
    missing : BoolTensor of shape (B, D) or None
        What the data do not tell, and nothing is to be learned of.
    self_index : LongTensor of shape (B,) or None
        The remembered rows that they are, see `KernelDensities`.
    """

    x0: torch.Tensor
    labels: torch.Tensor | None = None
    missing: torch.Tensor | None = None
    self_index: torch.Tensor | None = None

    def part(self, index):
        """The rows of an index."""
        return Batch(*(None if part is None else part[index] for part in self))


LOSSES = {"likelihood": nll_integrand, "uniform": noise_loss}


class Trainer:
    """A denoiser with its optimiser, its moving average and its random numbers.

    Parameters
    ----------
    denoiser : Denoiser
        On its device, in float32.
    path : gamma path on the same device
    loss : {"likelihood", "uniform"}
    batch_size : int
    learning_rate : float
    optimizer : {"muon", "adamw"}
        Muon moves the hidden matrices where the network names them, AdamW all else.
    weight_decay : float
    autocast : torch.dtype or None
        Type of the hidden layers' arithmetic.
    generator : torch.Generator on the device
    compiled : bool
        Whether the denoiser runs through ``torch.compile``.
    n_parts : int
        A batch goes through the network in so many parts, whose gradients are summed.
    states : RandomMasks
        What of each row is wanted, given or missing.
    loss_normalization : float in [0, 1]
        At 1 a part of a row, of a fifth of it or more, counts as much as the whole, and so does a
        row whose components move in turn; at 0 every moving component counts alike.
    """

    MAX_GRADIENT_NORM = 1.0
    AVERAGE = 0.998
    # Smaller parts of a row count as parts of this share do.
    LEAST_PART = 0.2

    def __init__(
        self, denoiser, path, *, loss, batch_size, learning_rate, optimizer, weight_decay,
        autocast, generator, states,
        compiled=False, n_parts=1, loss_normalization=1.0,
    ):  # fmt: skip
        self.denoiser, self.path, self.batch_size = denoiser, path, batch_size
        self.n_parts, self.states, self.loss_normalization = n_parts, states, loss_normalization
        self.autocast, self.generator = autocast, generator
        self.device = generator.device
        self._loss = LOSSES[loss]
        self._forward = torch.compile(denoiser) if compiled else denoiser
        self._parameters = list(denoiser.parameters())
        self._optimizers = make_optimizers(
            denoiser, self._parameters, optimizer, learning_rate, weight_decay
        )
        self._rates = [[g["lr"] for g in o.param_groups] for o in self._optimizers]
        self.times = AdaptiveTimes(device=self.device)
        # The same denoiser with the moving average of the weights: what is kept in the end.
        self.averaged = denoiser.averaging(copy.deepcopy(denoiser.network)).eval()
        self._average = [p.detach() for p in self.averaged.parameters()]
        # Running statistics, as of a BatchNorm, are averages already. What is not kept is constant.
        kept, buffers = denoiser.network.state_dict(), denoiser.network.named_buffers()
        pairs = zip(self.averaged.network.buffers(), buffers, strict=True)
        self._buffers = [(average, now) for average, (name, now) in pairs if name in kept]
        self.steps = 0

    def batch_loss(self, batch, filled=False):
        """Loss of a batch at stratified times.

        Parameters
        ----------
        batch : Batch
        filled : bool
            Whether something is there that the rest may be learned from.

        Returns
        -------
        loss : scalar Tensor, to be made small, in nats per component
        mean : scalar Tensor, nats per component that was wanted
        terms, bins : Tensor of shape (B,)
            Losses by own times, see `AdaptiveTimes.update`.
        """
        x0, missing = batch.x0, batch.missing
        given = () if batch.labels is None else (batch.labels,)

        def denoise(x, gamma):
            if self.autocast is None:
                return self._forward(x, gamma, *given, self_index=batch.self_index)
            with torch.autocast(self.device.type, self.autocast):
                return self._forward(x, gamma, *given, self_index=batch.self_index)

        u = torch.rand(len(x0), generator=self.generator, device=self.device)
        t, inverse_density, bins, density = self.times.sample(u)
        eps = torch.empty_like(x0).normal_(generator=self.generator)
        if not self.states.rate and missing is None:
            terms = self._loss(denoise, self.path, x0, t, eps).sum(1)
            loss = (terms * inverse_density).mean() / x0.shape[1]
            return loss, loss.detach(), terms, bins
        path = self.states.path(self.path, len(x0), self.generator, None if filled else missing)
        told, chance = path.wanted if missing is None else path.wanted & ~missing, None
        if path.start is not None:
            chance = torch.rand(x0.shape, generator=self.generator, device=self.device)
        t, of_rows = path.shared_times(t, density, told, chance)
        terms = (self._loss(denoise, path, x0, t, eps) * told).sum(1)
        wanted = told.sum(1, dtype=x0.dtype)
        mean = (terms.detach() * of_rows).sum() / wanted.sum().clamp(min=1)
        # The smaller a part is, and the fewer components move at once, the noisier is what a step
        # learns of them.
        there = x0.shape[1] if missing is None else (~missing).sum(1, dtype=x0.dtype)
        share = (wanted / there).nan_to_num(1.0).clamp(min=self.LEAST_PART)
        terms = terms * path.moving ** (1 - self.loss_normalization) / share**self.loss_normalization
        loss = terms * of_rows
        return loss.mean() / x0.shape[1], mean, loss / inverse_density, bins

    def step(self, batch, factor, filled=False):
        """One step of the optimiser on a batch; its mean loss as a tensor."""
        self.denoiser.train()
        for optimizer, rates in zip(self._optimizers, self._rates, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor
            optimizer.zero_grad(set_to_none=True)
        loss = 0.0
        n_rows = len(batch.x0)
        for part in torch.arange(n_rows, device=self.device).tensor_split(self.n_parts):
            share = len(part) / n_rows
            if share:
                part_loss, mean, terms, bins = self.batch_loss(batch.part(part), filled)
                (share * part_loss).backward()
                loss = loss + share * mean
                self.times.update(bins, terms)
        torch.nn.utils.clip_grad_norm_(self._parameters, self.MAX_GRADIENT_NORM, foreach=True)
        for optimizer in self._optimizers:
            optimizer.step()
        with torch.no_grad():
            decay = min(self.AVERAGE, (1 + self.steps) / (10 + self.steps))
            torch._foreach_lerp_(self._average, self._parameters, 1 - decay)
            for average, now in self._buffers:
                average.copy_(now)
        self.steps += 1
        return loss

    def batches(self, n_rows):
        """Index tensors of one pass over the rows in random order, all of one length."""
        n_steps = max(1, round(n_rows / self.batch_size))
        need = n_steps * min(self.batch_size, max(n_rows, 1))
        draws = -(-need // n_rows)
        order = torch.cat(
            [
                torch.randperm(n_rows, generator=self.generator, device=self.device)
                for _ in range(draws)
            ]
        )
        return order[:need].view(n_steps, -1)

    def weight_norm(self):
        """Sum of the norms of the averaged weights: not finite if one of them is not."""
        return torch.stack(torch._foreach_norm(self._average)).sum()

    def averaged_state(self):
        """State of the network with the averaged weights, as tensors."""
        return {k: v.clone() for k, v in self.averaged.network.state_dict().items()}

    def time_weights(self, batch, n_bins=32, n_pairs=2):
        """Standard deviation, over the noise, of the correction's integrand in bins of t.

        Scores draw times with this density: then their own noise is least. Pairs of draws for a
        row tell the noise from what differs between rows.
        """
        spread = np.zeros(n_bins)
        generator = torch.Generator(device=self.device).manual_seed(0)
        x0 = batch.x0
        split = self.given(batch.labels, batch.self_index).split
        path = self.observed(batch.missing)

        def draw(k):
            t = (k + torch.rand(len(x0), generator=generator, device=self.device)) / n_bins
            eps = torch.empty_like(x0).normal_(generator=generator)
            return nll_correction(split, path, x0, t, eps).sum(1)

        with torch.no_grad():
            for k in range(n_bins):
                for _ in range(n_pairs):
                    spread[k] += float(((draw(k) - draw(k)) ** 2).mean()) / (2 * n_pairs)
        return np.sqrt(spread) if spread.any() else np.ones(n_bins)

    def observed(self, missing):
        """The path of rows of which nothing is given, and a part (n, D) missing, if any."""
        if missing is None:
            return self.path
        state = torch.where(missing, MISSING, TARGET)
        return MaskedPath(self.path, state, self.states.log_variances)

    def given(self, labels, self_index=None):
        """The averaged denoiser given labels, and which remembered rows it is not to look up.

        Images are seen in training's arithmetic.
        """
        images = getattr(self.denoiser.network, "sees_images", False)
        autocast = self.autocast if images else None
        return LabelledDenoiser(self.averaged, labels, autocast=autocast, self_index=self_index)


def make_optimizers(denoiser, parameters, name, learning_rate, weight_decay):
    """AdamW, and Muon for the hidden matrices that the network names."""
    hidden = getattr(denoiser.network, "hidden_matrices", list)() if name == "muon" else []
    taken = {id(p) for p in hidden}
    rest = [p for p in parameters if id(p) not in taken]
    optimizers = [
        torch.optim.AdamW(
            rest,
            lr=learning_rate,
            betas=(0.9, 0.98),
            weight_decay=weight_decay,
            fused=True,
        )
    ]
    if hidden:
        optimizers.append(
            torch.optim.Muon(
                hidden,
                lr=2.5 * learning_rate,
                weight_decay=weight_decay,
                adjust_lr_fn="match_rms_adamw",
            )
        )
    return optimizers


class Validation:
    """What the network adds to the bound on held-out rows, with the same noise at every call.

    Parameters
    ----------
    x0 : Tensor of shape (n, D)
    n_times : int
    constant : float
        Mean negative log-likelihood under the marginals, in nats per dimension.
    n_dimensions : int
        Divisor of the sum over components.
    seed : int
    labels : LongTensor of shape (n,) or None
    missing : BoolTensor of shape (n, D) or None
    self_index : LongTensor of shape (n,) or None
        The remembered rows that they are.
    chunk : int
        Rows times noise draws that go through the network at once.
    """

    def __init__(
        self, x0, *, n_times, constant, n_dimensions, seed, labels=None, missing=None, self_index=None,
        chunk=4096,
    ):  # fmt: skip
        self.x0, self.n_times, self.labels, self.chunk = x0, n_times, labels, chunk
        self.missing, self.self_index, self.seed = missing, self_index, seed
        self.constant, self.n_dimensions = constant, n_dimensions
        self._density = None

    def score(self, given, observed, times):
        """Mean log-likelihood of the held-out rows, in nats per dimension.

        Parameters
        ----------
        given : callable of labels, and of the rows to leave out, to an averaged denoiser
        observed : callable of what is missing, or None, to the path of such rows
        times : AdaptiveTimes
        """
        n, d = self.x0.shape
        device = self.x0.device
        generator = torch.Generator(device=device).manual_seed(self.seed)
        density = self._density or TimeDensity(times.weights)
        if times.started:
            # One density for all later calls: then only the weights differ between them.
            self._density = density
        offset = torch.rand(n, generator=generator, device=device)
        rows = torch.arange(n * self.n_times, device=device)
        total = 0.0
        with torch.no_grad():
            for some in rows.split(self.chunk):
                row, stratum = some % n, some // n
                t, inverse_density, _ = density((stratum + offset[row]) / self.n_times)
                eps = torch.randn(len(some), d, generator=generator, device=device)
                labels, missing, self_index = (
                    None if v is None else v[row] for v in (self.labels, self.missing, self.self_index)
                )
                split, path = given(labels, self_index).split, observed(missing)
                terms = nll_correction(split, path, self.x0[row], t, eps).sum(1)
                total += float((terms * inverse_density).sum(dtype=torch.float64))
        return -(total / (n * self.n_times * self.n_dimensions) + self.constant)


def to_arrays(state):
    """Weights as a dict of NumPy arrays."""
    return {k: v.detach().cpu().numpy().copy() for k, v in state.items()}


def to_tensors(weights):
    """The dict of arrays as a dict of tensors."""
    return {k: torch.from_numpy(np.array(v)) for k, v in weights.items()}
