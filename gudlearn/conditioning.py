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
# A direction whose variance is less than this share of what independent components would have is
# not left to the network's derivative, which is no covariance, but for its errors.
_CREDIBLE = 0.05
# Of a least curvature that an operator may miss by rounding.
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
    spread : Tensor of shape (D,) or None
        Variances of the components; None: 1.
    """

    def __init__(self, operator, values, variances, seen=None, spread=None):
        self.operator, self.values, self.variances = operator, values, variances
        self.seen = seen
        self.spread = torch.ones_like(operator[0]) if spread is None else spread
        # Rows of which the same entries were seen are corrected alike.
        self._patterns, self._pattern = torch.ones_like(values[:1], dtype=torch.bool), None
        if seen is not None:
            self._patterns, self._pattern = torch.unique(seen, dim=0, return_inverse=True)

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

    def alone(self, gamma):
        """Variances (1, D) of components given the state, were they normal and independent.

        Of the noise levels gamma (n, D) the first row stands for all.
        """
        noise = gamma[:1].exp()
        return self.spread * noise / (self.spread + noise)

    def least_change(self, error, gamma):
        r"""C A^T (A C A^T + R)^-1 times an error (n, m), with C of `alone`; (n, D)."""
        operator, spread = self.operator.double(), self.alone(gamma).double()
        both = self._patterns[:, :, None] & self._patterns[:, None]
        gram = torch.where(both, (operator * spread) @ operator.T, 0.0)
        gram = gram + torch.diag_embed(torch.where(self._patterns, self.variances.double(), 1.0))
        factors, error = torch.linalg.cholesky(gram), error.double()
        if self._pattern is None:
            found = torch.cholesky_solve(error.T, factors[0]).T
        else:
            found = torch.cholesky_solve(error[:, :, None], factors[self._pattern])[:, :, 0]
        return spread.to(self.operator) * self.back(found.to(self.operator))


class PosteriorDenoiser:
    r"""Moment matching: the data given the state are taken for normal, of the network's moments.

    .. math:: \hat z_y = \hat z + C A^T (A C A^T + R)^{-1} (y - A \hat z), \qquad
              C = \mathrm{Cov}[z | x] = \partial_x \hat z \; \mathrm{diag}(\sigma^2/\alpha)

    Exact where the data are normal and the denoiser is. The derivative of a network is a covariance
    but for its errors: what of the observation it does not account for credibly is made up for as
    if components were independent.

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

        def least(v):
            """By independent components, a share of v^T (A C A^T) v, and v^T R v; (n, 1)."""
            alone = (observation.alone(gamma) * observation.back(v).square()).sum(1, keepdim=True)
            return _CREDIBLE * alone + (observation.variances * v * v).sum(1, keepdim=True)

        v, rest = conjugate_gradients(
            covariance,
            observation.error(z.detach()),
            min(_ITERATIONS, len(observation.operator)),
            least,
        )
        return z.detach() + spread(v) + observation.least_change(rest, gamma)


class ReplacementDenoiser:
    """What is known is put in the place of what was guessed, by the least change of components.

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

    def __call__(self, x, gamma):
        """Denoise x (n, D) at noise levels gamma (n, D)."""
        z = self.denoise(x, gamma)
        return z + self.observation.least_change(self.observation.error(z), gamma)


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


def conjugate_gradients(apply, b, n_iterations, least=None):
    """Solve apply(v) = b for each row of b (n, m), apply symmetric and positive.

    A row stops where its residual is nothing, or where along a direction d (n, m) the operator is
    less than least(d), (n, 1): what is no covariance would lead it far astray.

    Returns
    -------
    v, residual : Tensor of shape (n, m)
    """
    v, residual = torch.zeros_like(b), b
    going = torch.ones_like(b[:, :1], dtype=torch.bool)
    direction, square = residual, (residual * residual).sum(1, keepdim=True)
    tiny = torch.finfo(b.dtype).tiny
    for _ in range(n_iterations):
        image = apply(direction)
        curvature = (direction * image).sum(1, keepdim=True)
        going = going & (curvature > tiny)
        if least is not None:
            going = going & (curvature >= _ROUNDING * least(direction))
        step = torch.where(going, square / curvature.clamp(min=tiny), 0.0)
        v = v + step * direction
        residual = residual - step * image
        last, square = square, (residual * residual).sum(1, keepdim=True)
        direction = residual + square / last.clamp(min=tiny) * direction
    return v, residual
