r"""Denoisers given a linear observation of the data: what samplers call in the place of a denoiser.

An observation is :math:`y = A z + \eta` of the components z, with independent normal noise
:math:`\eta`. Where its part of the data is made of whole components it is exact to hold those at
their floor (``diffusion/states``), and nothing of this module is needed.
"""

import torch

from gudlearn.diffusion.levels import alpha, sigma
from gudlearn.diffusion.process import perturb_further

# Steps of conjugate gradients, each of which takes the network's derivative once.
_ITERATIONS = 8
# Of a floor that an operator may miss by rounding.
_ROUNDING = 0.999
# How often a step is taken, as in the article.
_REPEATS = 10


class Observation:
    """What is known of the components of some rows.

    Parameters
    ----------
    operator : Tensor of shape (m, D)
        A, on the scaled components.
    values : Tensor of shape (n, m)
        y.
    variances : Tensor of shape (m,)
        Of the noise, above 0.
    seen : BoolTensor of shape (n, m) or None
        Which entries of y there are; None: all.
    """

    def __init__(self, operator, values, variances, seen=None):
        self.operator, self.values, self.variances = operator, values, variances
        self.seen = seen

    def only_seen(self, v):
        """v (n, m) with zeros where nothing was seen."""
        return v if self.seen is None else torch.where(self.seen, v, 0.0)

    @property
    def tells(self):
        """Whether anything is known of a row, (n, 1)."""
        if self.seen is None:
            return torch.ones(len(self.values), 1, dtype=torch.bool, device=self.values.device)
        return self.seen.any(1, keepdim=True)

    def of(self, z):
        """A z of components z (n, D); (n, m)."""
        return _product(z, self.operator.T)

    def back(self, v):
        """A^T v of v (n, m); (n, D)."""
        return _product(v, self.operator)

    def error(self, z):
        """What the observation says beyond components z (n, D); (n, m)."""
        return self.only_seen(self.values - self.of(z))


class PosteriorDenoiser:
    r"""Moment matching: the data given the state are taken for normal, of the network's moments.

    .. math:: \hat z_y = \hat z + C A^T (A C A^T + R)^{-1} (y - A \hat z), \qquad
              C = \mathrm{Cov}[z | x] = \partial_x \hat z \; \mathrm{diag}(\sigma^2/\alpha)

    Exact where the data are normal and the denoiser is.

    Parameters
    ----------
    denoise : callable (x, gamma) -> z_hat
    observation : Observation

    References
    ----------
    Rozet, Andry, Lanusse, Louppe (2024), https://arxiv.org/abs/2405.13712
    """

    def __init__(self, denoise, observation):
        self.denoise, self.observation = denoise, observation

    def __call__(self, x, gamma):
        """Denoise x (n, D) at noise levels gamma (n, D)."""
        observation = self.observation
        with torch.enable_grad():
            x = x.detach().requires_grad_(True)
            z = self.denoise(x, gamma)
        ratio = sigma(gamma).square() / alpha(gamma)

        def spread(v):
            """C A^T v, by the transpose of the derivative: C is symmetric."""
            (back,) = torch.autograd.grad(z, x, observation.back(v).to(z), retain_graph=True)
            return ratio * back

        def covariance(v):
            """(A C A^T + R) v."""
            return observation.only_seen(observation.of(spread(v)) + observation.variances * v)

        v = conjugate_gradients(
            covariance,
            observation.error(z.detach()),
            min(_ITERATIONS, len(observation.operator)),
            observation.variances,
        )
        return z.detach() + spread(v)


class ReplacementDenoiser:
    r"""What is known is put in the place of what was guessed, by the least change of components.

    .. math:: \hat z_y = \hat z + A^T (A A^T + R)^{-1} (y - A \hat z)

    Parameters
    ----------
    denoise : callable (x, gamma) -> z_hat
    observation : Observation

    References
    ----------
    Wang, Yu, Zhang (2023), https://arxiv.org/abs/2212.00490
    """

    def __init__(self, denoise, observation):
        self.denoise, self.observation = denoise, observation
        operator, noise = observation.operator.double(), observation.variances.double()
        seen, self._pattern = torch.ones(1, len(noise), dtype=torch.bool, device=noise.device), None
        if observation.seen is not None:
            seen, self._pattern = torch.unique(observation.seen, dim=0, return_inverse=True)
        both = seen[:, :, None] & seen[:, None]
        gram = torch.where(both, operator @ operator.T, 0.0)
        gram = gram + torch.diag_embed(torch.where(seen, noise, 1.0))
        # One for each pattern of what was seen.
        self._factors = torch.linalg.cholesky(gram)

    def __call__(self, x, gamma):
        """Denoise x (n, D) at noise levels gamma (n, D)."""
        z = self.denoise(x, gamma)
        error = self.observation.error(z).double()
        if len(self._factors) == 1:
            found = torch.cholesky_solve(error.T, self._factors[0]).T
        else:
            found = torch.cholesky_solve(error[:, :, None], self._factors[self._pattern])[:, :, 0]
        return z + self.observation.back(found.to(self.observation.operator))


class RepaintStep:
    """A solver's step taken ten times, between which its end is made as noisy as its beginning.

    Replacement alone knows nothing of what the known part says of the rest; these repetitions let
    the two fall in with each other. It is cheap, robust and approximate.

    Parameters
    ----------
    step : callable
        A step of ``diffusion/solvers``.
    tells : BoolTensor of shape (n, 1)
        Rows of which anything is known; the others take the step once, as it is.
    noise : callable of int
        The k-th normal draw of the shape of x.

    References
    ----------
    Lugmayr et al. (2022), https://arxiv.org/abs/2201.09865
    """

    def __init__(self, step, tells, noise):
        self.step, self.tells, self._noise = step, tells, noise
        self.stochastic = step.stochastic
        self._n_draws = 0

    def __call__(self, denoise, x, gamma_t, gamma_s, memory, noise):
        """Return the next state, and the step's memory of rows of which nothing is known."""
        plain = kept = None
        if not self.tells.all():
            plain, kept = self.step(denoise, x, gamma_t, gamma_s, memory, noise)
        # What a step remembers belongs to a state that was made noisy again: each is a first one.
        for _ in range(_REPEATS - 1):
            fresh = self._draw() if self.stochastic else None
            end, _ = self.step(denoise, x, gamma_t, gamma_s, None, fresh)
            x = perturb_further(end, self._draw(), gamma_s, gamma_t)
        x, _ = self.step(denoise, x, gamma_t, gamma_s, None, noise)
        return x if plain is None else torch.where(self.tells, x, plain), kept

    def _draw(self):
        self._n_draws += 1
        return self._noise(self._n_draws)


def _product(rows, matrix):
    """Rows times a matrix in full precision: known values are known to a thousandth and better."""
    with torch.autocast(rows.device.type, enabled=False):
        return rows.to(matrix.dtype) @ matrix


def conjugate_gradients(apply, b, n_iterations, floor=0.0):
    """Solve apply(v) = b for each row of b (n, m), apply symmetric and positive; (n, m).

    A row stops where its residual is nothing, or where along it the operator is less than its
    floor, a diagonal (m,): what is no covariance would lead it far astray.
    """
    v, residual = torch.zeros_like(b), b
    going = torch.ones_like(b[:, :1], dtype=torch.bool)
    direction, square = residual, (residual * residual).sum(1, keepdim=True)
    tiny = torch.finfo(b.dtype).tiny
    for _ in range(n_iterations):
        image = apply(direction)
        curvature = (direction * image).sum(1, keepdim=True)
        least = _ROUNDING * (direction * direction * floor).sum(1, keepdim=True)
        going = going & (curvature > tiny) & (curvature >= least)
        step = torch.where(going, square / curvature.clamp(min=tiny), 0.0)
        v = v + step * direction
        residual = residual - step * image
        last, square = square, (residual * residual).sum(1, keepdim=True)
        direction = residual + square / last.clamp(min=tiny) * direction
    return v
