"""A denoiser in training: its steps, and the moving average of its weights."""

import copy
from typing import NamedTuple

import numpy as np
import torch

from gudlearn.conditioning.states import MISSING, TARGET, MaskedPath
from gudlearn.diffusion.likelihood import nll_correction
from gudlearn.diffusion.losses import AdaptiveTimes, nll_integrand, noise_loss
from gudlearn.nn.denoiser import LabelledDenoiser
from gudlearn.training.optimizers import make_optimizers


class Batch(NamedTuple):
    """Rows of training.

    Parameters
    ----------
    x0 : Tensor of shape (B, D)
    labels : LongTensor of shape (B,) or None
    missing : BoolTensor of shape (B, D) or None
        Components that are missing in the data: the loss does not count them.
    self_index : LongTensor of shape (B,) or None
        Places of the rows in the reference set, see `KernelDensities`.
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
        Muon updates the hidden matrices that the network names, AdamW all other weights.
    weight_decay : float
    autocast : torch.dtype or None
        Type of the hidden layers' arithmetic.
    generator : torch.Generator on the device
    compiled : bool
        Whether the denoiser runs through ``torch.compile``.
    n_parts : int
        Number of parts in which a batch goes through the network; their gradients are summed.
    masks : RandomMasks
        Which components of each row are target, observed or missing.
    loss_normalization : float in [0, 1]
        Exponent of the normalisation by the fraction of components that are scored. At 1 a
        partially observed row, if a fifth of it or more is target, counts as much as a whole one,
        and so does a row whose components are active one after another; at 0 every active
        component counts alike.
    """

    MAX_GRADIENT_NORM = 1.0
    AVERAGE = 0.998
    # Smaller fractions of a row count as this fraction does.
    LEAST_PART = 0.2

    def __init__(
        self, denoiser, path, *, loss, batch_size, learning_rate, optimizer, weight_decay,
        autocast, generator, masks, compiled=False, n_parts=1, loss_normalization=1.0,
    ):  # fmt: skip
        self.denoiser, self.path, self.batch_size = denoiser, path, batch_size
        self.n_parts, self.masks, self.loss_normalization = n_parts, masks, loss_normalization
        self.autocast, self.generator = autocast, generator
        self.device = generator.device
        self._loss = LOSSES[loss]
        self.compiled = compiled
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

    def follow(self, path, conditional_rate):
        """Train on another path, with another fraction of partially observed rows."""
        self.path = path.to(self.device, torch.float32)
        self.masks.rate = conditional_rate

    def batch_loss(self, batch, imputed=False):
        """Loss of a batch at stratified times.

        Parameters
        ----------
        batch : Batch
        imputed : bool
            Whether missing components hold imputed values, from which the others may be learned.

        Returns
        -------
        loss : scalar Tensor
            To be minimised, in nats per component.
        mean : scalar Tensor
            Mean loss in nats per target component.
        terms, bins : Tensor of shape (B,)
            Losses by the bins of their components' times, see `AdaptiveTimes.update`.
        """
        x0, missing = batch.x0, batch.missing
        u = torch.rand(
            len(x0), generator=self.generator, device=self.device, dtype=torch.float32
        )
        t, inverse_density, bins, density = self.times.sample(u)
        eps = torch.empty_like(x0).normal_(generator=self.generator)
        denoise = self._denoise_batch(batch)
        if not self.masks.rate and missing is None:
            terms = self._loss(denoise, self.path, x0, t, eps).sum(1)
            loss = (terms * inverse_density).mean() / x0.shape[1]
            return loss, loss.detach(), terms, bins
        path = self.masks.path(self.path, len(x0), self.generator, None if imputed else missing)
        scored, draw = path.target if missing is None else path.target & ~missing, None
        if path.start is not None:
            draw = torch.rand(
                x0.shape, generator=self.generator, device=self.device, dtype=torch.float32
            )
        t, of_rows = path.row_times(t, density, scored, draw)
        terms = (self._loss(denoise, path, x0, t, eps) * scored).sum(1)
        n_scored = scored.sum(1, dtype=x0.dtype)
        mean = (terms.detach() * of_rows).sum() / n_scored.sum().clamp(min=1)
        # The smaller the target, and the fewer components are active at once, the noisier is the
        # gradient that a step takes from them.
        n_present = x0.shape[1] if missing is None else (~missing).sum(1, dtype=x0.dtype)
        fraction = (n_scored / n_present).nan_to_num(1.0).clamp(min=self.LEAST_PART)
        exponent = self.loss_normalization
        terms = terms * path.active_fraction ** (1 - exponent) / fraction**exponent
        loss = terms * of_rows
        return loss.mean() / x0.shape[1], mean, loss / inverse_density, bins

    def _denoise_batch(self, batch):
        """The denoiser of a batch, in training's arithmetic."""
        labels = () if batch.labels is None else (batch.labels,)

        def denoise(x, gamma):
            if self.autocast is None:
                return self._forward(x, gamma, *labels, self_index=batch.self_index)
            with torch.autocast(self.device.type, self.autocast):
                return self._forward(x, gamma, *labels, self_index=batch.self_index)

        return denoise

    def step(self, batch, factor, imputed=False):
        """One step of the optimiser on a batch; its mean loss as a tensor."""
        self.denoiser.train()
        for optimizer, rates in zip(self._optimizers, self._rates, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor
            optimizer.zero_grad(set_to_none=True)
        loss = 0.0
        n_rows = len(batch.x0)
        for part in torch.arange(n_rows, device=self.device).tensor_split(self.n_parts):
            fraction = len(part) / n_rows
            if fraction:
                part_loss, mean, terms, bins = self.batch_loss(batch.part(part), imputed)
                (fraction * part_loss).backward()
                loss = loss + fraction * mean
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
        """Index tensors of one epoch over the rows in random order, all of one length."""
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

        As an importance-sampling density it makes the variance of scores least. Pairs of draws for
        a row tell the noise from the differences between rows.
        """
        variances = np.zeros(n_bins)
        generator = torch.Generator(device=self.device).manual_seed(0)
        x0 = batch.x0
        split = self.labelled(batch.labels, batch.self_index).split
        path = self.path_without(batch.missing)

        def draw(k):
            u = torch.rand(len(x0), generator=generator, device=self.device, dtype=torch.float32)
            eps = torch.empty_like(x0).normal_(generator=generator)
            return nll_correction(split, path, x0, (k + u) / n_bins, eps).sum(1)

        with torch.no_grad():
            for k in range(n_bins):
                for _ in range(n_pairs):
                    variances[k] += float(((draw(k) - draw(k)) ** 2).mean()) / (2 * n_pairs)
        return np.sqrt(variances) if variances.any() else np.ones(n_bins)

    def path_without(self, missing):
        """The path of rows some of whose components (n, D) are missing, and none observed."""
        if missing is None:
            return self.path
        state = torch.where(missing, MISSING, TARGET)
        return MaskedPath(self.path, state, self.masks.log_variances)

    def labelled(self, labels, self_index=None):
        """The averaged denoiser given labels and places of rows in the reference set.

        Images are denoised in training's arithmetic.
        """
        images = getattr(self.denoiser.network, "sees_images", False)
        autocast = self.autocast if images else None
        return LabelledDenoiser(self.averaged, labels, autocast=autocast, self_index=self_index)
