"""Optimisers: AdamW, and Muon for hidden matrices.

They are no subclasses of ``torch.optim.Optimizer``, whose first object in a process imports
torch's compiler for two seconds.
"""

import torch
from torch.optim.adamw import adamw

from gudlearn.model.device import autocast_type
from gudlearn.training.ranks import OneRank

# Coefficients of the Newton-Schulz iteration, and its number of steps. They drive singular values
# towards 1 fast rather than exactly (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon).
_COEFFICIENTS, _N_STEPS = (3.4445, -4.7750, 2.0315), 5
# Root mean square of an update of AdamW, which Muon's updates get (Liu et al. 2025,
# https://arxiv.org/abs/2502.16982).
_RMS = 0.2


class AdamW:
    """AdamW of a list of parameters, in torch's fused kernel.

    Parameters
    ----------
    parameters : list of nn.Parameter
    learning_rate, weight_decay : float
    """

    BETAS, EPS = (0.9, 0.98), 1e-8

    def __init__(self, parameters, learning_rate, weight_decay):
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self._parameters = parameters
        self._means = [torch.zeros_like(p) for p in parameters]
        self._squares = [torch.zeros_like(p) for p in parameters]
        self._steps = [torch.zeros((), dtype=torch.float32, device=p.device) for p in parameters]

    def state_dict(self):
        """Moments and numbers of steps, a dict of lists of tensors."""
        return {"means": self._means, "squares": self._squares, "steps": self._steps}

    def load_state_dict(self, state):
        """Take what `state_dict` of an optimiser of such parameters returned."""
        for held, name in ((self._means, "means"), (self._squares, "squares"),
                           (self._steps, "steps")):  # fmt: skip
            _copy(held, state[name])

    @torch.no_grad()
    def step(self, factor=1.0):
        """Update all parameters that have a gradient, with the learning rate times a factor."""
        everything = self._parameters, self._means, self._squares, self._steps
        used = [row for row in zip(*everything, strict=True) if row[0].grad is not None]
        if not used:
            return
        parameters, means, squares, steps = map(list, zip(*used, strict=True))
        adamw(
            parameters, [p.grad for p in parameters], means, squares, [], steps, fused=True,
            amsgrad=False, beta1=self.BETAS[0], beta2=self.BETAS[1], eps=self.EPS,
            lr=factor * self.learning_rate, weight_decay=self.weight_decay, maximize=False,
        )  # fmt: skip


class Muon:
    """Muon of a list of matrices: the update is the momentum with singular values of about 1.

    Matrices of one shape are orthogonalised together: one at a time, those of a network of a table
    are so small that calls take longer than arithmetic.

    Parameters
    ----------
    matrices : list of nn.Parameter of shape (m, n)
    learning_rate, weight_decay : float
    """

    MOMENTUM = 0.95

    def __init__(self, matrices, learning_rate, weight_decay):
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        shapes = {}
        for matrix in matrices:
            shapes.setdefault(matrix.shape, []).append(matrix)
        self._groups = [(same, torch.zeros_like(torch.stack(same))) for same in shapes.values()]
        #: The processes that divide the matrices, an object of `gudlearn.training.ranks`.
        self.ranks = OneRank()

    def state_dict(self):
        """Momentum of each group of matrices of one shape."""
        return {"momentum": [momentum for _, momentum in self._groups]}

    def load_state_dict(self, state):
        """Take what `state_dict` of an optimiser of such matrices returned."""
        _copy([momentum for _, momentum in self._groups], state["momentum"])

    @torch.no_grad()
    def step(self, factor=1.0):
        """Update all matrices, with the learning rate times a factor; all need a gradient."""
        rate = factor * self.learning_rate
        for matrices, momentum in self._groups:
            gradient = torch.stack([matrix.grad for matrix in matrices])
            momentum.lerp_(gradient, 1 - self.MOMENTUM)
            update = self._orthogonalized(gradient.lerp_(momentum, self.MOMENTUM))
            size = _RMS * max(update.shape[1:]) ** 0.5
            torch._foreach_mul_(matrices, 1 - rate * self.weight_decay)
            torch._foreach_add_(matrices, list(update.unbind()), alpha=-rate * size)

    def _orthogonalized(self, matrices):
        """`orthogonalized` matrices (k, m, n), of which each rank does a part."""
        if self.ranks.size == 1:
            return orthogonalized(matrices)
        update = torch.zeros_like(matrices)
        own = torch.arange(len(matrices)).tensor_split(self.ranks.size)[self.ranks.index]
        if len(own):
            update[own] = orthogonalized(matrices[own])
        return self.ranks.total(update)


def _copy(tensors, values):
    """Copy values into tensors, in place."""
    for tensor, value in zip(tensors, values, strict=True):
        tensor.copy_(value)


def orthogonalized(matrices):
    """Matrices (k, m, n) with their singular values moved to between 0.7 and 1.2, about.

    Very small singular values stay small.
    """
    a, b, c = _COEFFICIENTS
    # Where bfloat16 is not fast, it is much slower than float32.
    x = matrices.to(autocast_type("auto", matrices.device) or matrices.dtype)
    is_tall = x.shape[1] > x.shape[2]
    x = x.mT if is_tall else x
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp(min=1e-7)
    for _ in range(_N_STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if is_tall else x).to(matrices.dtype)


def make_optimizers(denoiser, parameters, name, learning_rate, weight_decay):
    """AdamW, and with the name "muon" also Muon for the hidden matrices of the network.

    Returns
    -------
    list of AdamW and Muon
    """
    hidden = getattr(denoiser.network, "hidden_matrices", list)() if name == "muon" else []
    ids = {id(p) for p in hidden}
    rest = [p for p in parameters if id(p) not in ids]
    optimizers = [AdamW(rest, learning_rate, weight_decay)]
    if hidden:
        optimizers.append(Muon(hidden, 2.5 * learning_rate, weight_decay))
    return optimizers
