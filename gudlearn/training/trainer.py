"""The trainer: steps of the optimiser, and the moving average of the weights."""

import copy
from typing import NamedTuple

import numpy as np
import torch

from gudlearn.conditioning.states import MISSING, TARGET, MaskedPath
from gudlearn.diffusion.likelihood import nll_correction
from gudlearn.diffusion.losses import AdaptiveTimes, nll_integrand, noise_loss
from gudlearn.diffusion.path_bank import PathBank
from gudlearn.model.device import sees_images
from gudlearn.nn.denoiser import LabelledDenoiser
from gudlearn.training.optimizers import make_optimizers
from gudlearn.training.ranks import OneRank


class Batch(NamedTuple):
    """A batch of training rows.

    Parameters
    ----------
    x0 : Tensor of shape (B, D)
    labels : LongTensor of shape (B,) or None
    missing : BoolTensor of shape (B, D) or None
        Components that are missing in the data. They are targets of the loss only if they are
        imputed, and no component of the row is observed.
    self_index : LongTensor of shape (B,) or None
        Indices of the rows in the reference set, -1 for others; see `KernelDensities`.
    absent : BoolTensor of shape (B, D) or None
        Missing components that do not exist, because their gate says so. They are never targets.
    """

    x0: torch.Tensor
    labels: torch.Tensor | None = None
    missing: torch.Tensor | None = None
    self_index: torch.Tensor | None = None
    absent: torch.Tensor | None = None

    def part(self, index):
        """The batch of the rows of an index."""
        return Batch(*(None if part is None else part[index] for part in self))


LOSSES = {"likelihood": nll_integrand, "uniform": noise_loss}


class Trainer:
    """A denoiser with its optimiser, its moving average and its random numbers.

    Parameters
    ----------
    denoiser : Denoiser
        On its device, in float32.
    path : GammaPath
        On the same device.
    loss : {"likelihood", "uniform"}
    batch_size : int
    learning_rate : float
    optimizer : {"muon", "adamw"}
        Muon updates the hidden matrices of the network, AdamW all other weights.
    weight_decay : float
    autocast : torch.dtype or None
        Dtype of the hidden layers' arithmetic; None for float32.
    generator : torch.Generator
        On the device.
    compiled : bool
        Whether the denoiser runs through ``torch.compile``.
    n_parts : int
        Number of parts in which a rank's part of a batch goes through the network; gradients are
        summed. Noise is drawn for each part: two parts on one rank are one part on each of two.
    masks : RandomMasks
        Which components of each row are target, observed or missing.
    loss_normalization : float in [0, 1]
        Exponent of the normalisation by the fraction of components that are scored. At 1 a
        partially observed row counts as much as a complete one, if a fifth of it or more is target,
        and so does a row whose components are active one after another; at 0 every active
        component has the same weight.
    family : sequence of GammaPath, or None
        Paths of a family of schedules, on the same device, on which rows are trained; None for
        ``path`` alone.
    """

    MAX_GRADIENT_NORM = 1.0
    # Evaluations of a table's network that take as long as the optimiser and the calls of a step.
    EVALUATIONS_PER_STEP = 600
    # Rows that share a time where a joint distribution inverts a matrix for each time.
    ROWS_PER_TIME = 4
    AVERAGE = 0.998
    # Targets that are a smaller fraction of a row are weighted like this fraction.
    LEAST_PART = 0.2
    # Rows, or images, that `time_weights` evaluates at once.
    MOST_ROWS, MOST_IMAGES = 1024, 128

    def __init__(
        self, denoiser, path, *, loss, batch_size, learning_rate, optimizer, weight_decay,
        autocast, generator, masks, compiled=False, n_parts=1, loss_normalization=1.0,
        family=None,
    ):  # fmt: skip
        self.denoiser, self.path, self.batch_size = denoiser, path, batch_size
        self.family = PathBank(family or [path])
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
        self.times = AdaptiveTimes(device=self.device)
        self._rows_per_time = 1 if denoiser.distribution is None else self.ROWS_PER_TIME
        # The same denoiser with the moving average of the weights, which are the result.
        self.averaged = denoiser.averaging(copy.deepcopy(denoiser.network)).eval()
        self._average = [p.detach() for p in self.averaged.parameters()]
        # Running statistics, such as those of BatchNorm, are averages already, and are copied.
        # Buffers outside the state dict are constant.
        kept, buffers = denoiser.network.state_dict(), denoiser.network.named_buffers()
        pairs = zip(self.averaged.network.buffers(), buffers, strict=True)
        self._buffers = [(average, now) for average, (name, now) in pairs if name in kept]
        self.steps = 0
        #: The processes that divide each batch, an object of `gudlearn.training.ranks`.
        self.ranks = OneRank()
        #: Generators of the network's layers, while it is trained.
        self.layer_generators = []

    def join(self, ranks):
        """Train as one of several processes."""
        self.ranks = ranks
        for optimizer in self._optimizers:
            if hasattr(optimizer, "ranks"):
                optimizer.ranks = ranks

    def state_dict(self):
        """All that steps change, a dict of tensors, which are not copied, and plain values."""
        return {
            "network": self.denoiser.network.state_dict(),
            "averaged": self.averaged.network.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self._optimizers],
            "times": self.times.state_dict(),
            "masks": self.masks.state_dict(),
            "generator": self.generator.get_state(),
            "steps": self.steps,
        }

    def load_state_dict(self, state):
        """Take what `state_dict` of a trainer of the same parameters returned."""
        self.denoiser.network.load_state_dict(state["network"])
        self.averaged.network.load_state_dict(state["averaged"])
        for optimizer, of_optimizer in zip(self._optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(of_optimizer)
        self.times.load_state_dict(state["times"])
        self.masks.load_state_dict(state["masks"])
        self.generator.set_state(state["generator"])
        self.steps = state["steps"]

    def follow(self, path, family, conditional_rate):
        """Continue on other paths, with another fraction of partially observed rows."""
        self.path = path.to(self.device, torch.float32)
        family = [member.to(self.device, torch.float32) for member in family or ()]
        self.family = PathBank(family or [self.path])
        self.masks.rate = conditional_rate

    def batch_loss(self, batch, imputed=False):
        """Loss of a batch at stratified times.

        Parameters
        ----------
        batch : Batch
        imputed : bool
            Whether missing components hold imputed values, which the network may see.

        Returns
        -------
        loss : scalar Tensor
            The objective, in nats per component.
        mean : scalar Tensor
            Mean loss in nats per target component, detached.
        terms, bins : Tensor of shape (B,)
            Loss of each row, and the bin of its time, see `AdaptiveTimes.update`.
        """
        x0, missing = batch.x0, batch.missing
        n_times = -(-len(x0) // self._rows_per_time)
        u = torch.rand(n_times, generator=self.generator, device=self.device, dtype=torch.float32)
        t, inverse_density, bins, density = self.times.sample(u, len(x0))
        eps = torch.empty_like(x0).normal_(generator=self.generator)
        denoise = self._denoise_batch(batch)
        path, windows = self.family.of_batch(len(x0), n_times, self.steps)
        if not self.masks.rate and missing is None:
            if windows is not None:
                return self._loss_in_windows(windows, denoise, x0, eps, t, density, bins)
            terms = self._loss(denoise, path, x0, t, eps, True).sum(1)
            loss = (terms * inverse_density).mean() / x0.shape[1]
            return loss, loss.detach(), terms, bins
        unseen = batch.absent if imputed else missing
        path = self.masks.path(path, len(x0), self.generator, unseen)
        path = path if windows is None else path.in_windows(*windows.of_rows())
        hidden, draw = missing, None
        if imputed and missing is not None:
            # What is drawn given the row is a target where none of the row is observed.
            hidden = missing & path.observed.any(1, keepdim=True)
            hidden = hidden if unseen is None else hidden | unseen
        scored = path.target if missing is None else path.target & ~hidden
        if path.start is not None:
            draw = torch.rand(
                x0.shape, generator=self.generator, device=self.device, dtype=torch.float32
            )
        t, of_rows = path.row_times(t, density, scored, draw)
        terms = (self._loss(denoise, path, x0, t, eps, True) * scored).sum(1)
        n_scored = scored.sum(1, dtype=x0.dtype)
        mean = (terms.detach() * of_rows).sum() / n_scored.sum().clamp(min=1)
        # The smaller the target, and the fewer components are active at once, the noisier is the
        # gradient of a row.
        n_present = x0.shape[1] if missing is None else (~hidden).sum(1, dtype=x0.dtype)
        fraction = (n_scored / n_present).nan_to_num(1.0).clamp(min=self.LEAST_PART)
        exponent = self.loss_normalization
        # In a family every active component has the same weight.
        of_active = 1 - exponent if windows is None else 1.0
        terms = terms * path.active_fraction**of_active / fraction**exponent
        loss, of_bins = terms * of_rows, 1 / inverse_density
        if path.steady is not None:
            # What does not depend on the time says nothing about its density.
            of_bins = torch.where(path.steady.any(1), 1.0, of_bins)
        return loss.mean() / x0.shape[1], mean, loss * of_bins, bins

    def _loss_in_windows(self, path, denoise, x0, eps, local_times, density, bins):
        """What `batch_loss` returns, for complete rows with windows of their own."""
        u = torch.rand(
            len(path.first), generator=self.generator, device=self.device, dtype=torch.float32
        )
        t, of_rows = path.row_times(local_times, density, u)
        terms = self._loss(denoise, path, x0, t, eps, True).sum(1) * of_rows
        # Every active component has the same weight.
        loss, n_components = terms * path.active_fraction, x0.shape[1]
        of_bins = loss * density.height(local_times)
        return loss.mean() / n_components, terms.detach().mean() / n_components, of_bins, bins

    def _denoise_batch(self, batch):
        """The denoiser given labels and indices of a batch, in the precision of training."""
        labels = () if batch.labels is None else (batch.labels,)

        def denoise(x, gamma):
            if self.autocast is None:
                return self._forward(x, gamma, *labels, self_index=batch.self_index)
            with torch.autocast(self.device.type, self.autocast):
                return self._forward(x, gamma, *labels, self_index=batch.self_index)

        return denoise

    def step(self, batch, factor, imputed=False):
        """Take one step of the optimiser, with its learning rate times a factor.

        Returns
        -------
        scalar Tensor
            Mean loss of the batch in nats per target component.
        """
        self.denoiser.train()
        for parameter in self._parameters:
            parameter.grad = None
        n_rows = len(batch.x0)
        like = {"device": self.device, "dtype": torch.float32}
        loss, (terms, bins) = torch.zeros((), **like), torch.zeros((2, n_rows), **like)
        for part in self._own_parts(n_rows):
            fraction = len(part) / n_rows
            part_loss, mean, of_rows, of_bins = self.batch_loss(batch.part(part), imputed)
            (fraction * part_loss).backward()
            loss = loss + fraction * mean
            terms[part], bins[part] = of_rows.detach().to(terms.dtype), of_bins.to(bins.dtype)
        if self.ranks.size > 1:
            loss, terms, bins = self._sum_over_ranks(loss, terms, bins)
        self.times.update(bins.long(), terms)
        self._clip_gradients()
        for optimizer in self._optimizers:
            optimizer.step(factor)
        with torch.no_grad():
            decay = min(self.AVERAGE, (1 + self.steps) / (10 + self.steps))
            torch._foreach_lerp_(self._average, self._parameters, 1 - decay)
            for average, now in self._buffers:
                average.copy_(now)
        self.steps += 1
        return loss

    def _own_parts(self, n_rows):
        """Indices of this rank's parts of a batch, each with random numbers of its own."""
        n_parts = self.n_parts * self.ranks.size
        parts = torch.arange(n_rows, device=self.device).tensor_split(n_parts)
        if n_parts == 1:
            yield from parts
            return
        generators = [self.generator, *self.layer_generators]
        seeds = torch.randint(
            2**62, (n_parts, len(generators)), generator=self.generator, device=self.device
        ).tolist()
        after = [generator.get_state() for generator in generators]
        for place, part in enumerate(parts):
            if place // self.n_parts != self.ranks.index:
                self.masks.skip(len(part))
                continue
            if not len(part):
                continue
            for generator, seed in zip(generators, seeds[place], strict=True):
                generator.manual_seed(seed)
            yield part
        for generator, state in zip(generators, after, strict=True):
            generator.set_state(state)

    @torch.no_grad()
    def _sum_over_ranks(self, *others):
        """Sum gradients over ranks, in place, and other tensors, which are returned."""
        has_gradient = [p.grad is not None for p in self._parameters]
        gradients = [
            p.grad if here else torch.zeros_like(p)
            for p, here in zip(self._parameters, has_gradient, strict=True)
        ]
        n_ranks = torch.tensor(has_gradient, dtype=torch.float32, device=self.device)
        parts = [*gradients, n_ranks, *others]
        vector = self.ranks.total(torch.cat([part.flatten() for part in parts]))
        summed = [
            part.view(like.shape)
            for part, like in zip(vector.split([p.numel() for p in parts]), parts, strict=True)
        ]
        n_parameters = len(gradients)
        anywhere = summed[n_parameters].tolist()
        for parameter, gradient, n in zip(
            self._parameters, summed[:n_parameters], anywhere, strict=True
        ):
            parameter.grad = gradient if n else None
        return summed[n_parameters + 1 :]

    @torch.no_grad()
    def _clip_gradients(self):
        """Scale all gradients if their norm is above the largest one."""
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        if not gradients:
            return
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        scale = (self.MAX_GRADIENT_NORM / (norm + 1e-6)).clamp(max=1)
        # Reading a number makes a GPU wait, which takes longer than multiplying by 1.
        if self.device.type != "cpu" or scale < 1:
            torch._foreach_mul_(gradients, scale)

    def cost_of_step(self, n_rows):
        """Number of evaluations of the network, without gradient, that a step of n_rows costs."""
        if sees_images(self.denoiser):
            return 3 * n_rows
        # Of a table's rows the closed-form part has no gradient; the rest is that of the weights.
        return n_rows + self.EVALUATIONS_PER_STEP

    def batches(self, n_rows):
        """Indices of one epoch in random order, a tensor (n_steps, rows per step)."""
        n_steps = max(1, round(n_rows / self.batch_size))
        n_indices = n_steps * min(self.batch_size, max(n_rows, 1))
        n_permutations = -(-n_indices // n_rows)
        order = torch.cat(
            [
                torch.randperm(n_rows, generator=self.generator, device=self.device)
                for _ in range(n_permutations)
            ]
        )
        return order[:n_indices].view(n_steps, -1)

    def weight_norm(self):
        """Sum of the norms of the averaged weights, which is not finite if a weight is not."""
        return torch.stack(torch._foreach_norm(self._average)).sum()

    def averaged_state(self):
        """State dict of the network with the averaged weights, a copy."""
        return {k: v.clone() for k, v in self.averaged.network.state_dict().items()}

    def time_weights(self, batch, n_bins=32, n_pairs=2, gaussian=False):
        """Standard deviation over the noise of the nll correction's integrand, in bins of t.

        As an importance-sampling density it minimises the variance of scores. Pairs of draws for
        the same row separate the noise from the differences between rows.

        Parameters
        ----------
        batch : Batch
        n_bins, n_pairs : int
        gaussian : bool
            Whether the correction is that to the joint Gaussian, not that to the marginals.
        """
        generator = torch.Generator(device=self.device).manual_seed(0)
        like = {"generator": generator, "device": self.device, "dtype": torch.float32}
        x0, (n_rows, width) = batch.x0, batch.x0.shape
        split = self.labelled(batch.labels, batch.self_index).split
        path = self.path_without(batch.missing)
        control = self.denoiser.joint_gaussian.denoiser_on(path) if gaussian else None
        most = self.MOST_IMAGES if sees_images(self.denoiser) else self.MOST_ROWS
        # Both draws of a pair are next to each other; few rows are evaluated in few calls.
        bins = torch.arange(n_bins, device=self.device).repeat_interleave(2 * n_pairs)
        draws = []
        with torch.no_grad():
            for some in bins.split(max(1, most // n_rows)):
                # All rows share a time, as in scores.
                u = torch.rand((len(some), 1), **like).expand(-1, n_rows)
                t = ((some[:, None] + u) / n_bins).flatten()
                eps = torch.randn((len(t), width), **like)
                repeated = x0.repeat(len(some), 1)
                change = nll_correction(split, path, repeated, t, eps, control).sum(1)
                draws.append(change.view(len(some), n_rows))
        pairs = torch.cat(draws).view(n_bins, n_pairs, 2, n_rows).double()
        variances = pairs.diff(dim=2).square().mean((1, 2, 3)).cpu().numpy() / 2
        return np.sqrt(variances) if variances.any() else np.ones(n_bins)

    def path_without(self, missing):
        """The path of rows with missing components, a mask (n, D) or None, and none observed."""
        if missing is None:
            return self.path
        state = torch.where(missing, MISSING, TARGET)
        return MaskedPath(self.path, state, self.masks.log_variances)

    def path_of_validation(self, n_rows, missing):
        """The path of held-out rows, see `RandomMasks.of_validation`."""
        return self.masks.of_validation(self.path, n_rows, missing)

    def labelled(self, labels, self_index=None):
        """The averaged denoiser given labels and indices of rows in the reference set.

        Images are denoised in the precision of training.
        """
        autocast = self.autocast if sees_images(self.denoiser) else None
        return LabelledDenoiser(self.averaged, labels, autocast=autocast, self_index=self_index)
