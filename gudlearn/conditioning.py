r"""Denoisers given a linear observation of the data: what samplers call in the place of a denoiser.

An observation is :math:`y = A z + \eta` of the components z, with independent normal noise
:math:`\eta`. Where its part of the data is made of whole components it is exact to hold those at
their floor (``diffusion/states``), and nothing of this module is needed.
"""

import torch

from gudlearn.diffusion.levels import alpha, sigma

# Steps of conjugate gradients, each of which takes the network's derivative once.
_ITERATIONS = 8
# Of a floor that an operator may miss by rounding.
_ROUNDING = 0.999
# How often a state is denoised and made noisy again at each level.
_REPEATS = 4


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


class RepaintDenoiser:
    """Replacement: what is known is put in the place of what was guessed, again and again.

    At each level the state is denoised, corrected to agree with the observation and made noisy
    again, so that what is not known falls in with what is. Any prior knowledge of how the two
    depend comes from these repetitions alone: it is cheap, robust and approximate.

    Parameters
    ----------
    denoise : callable (x, gamma) -> z_hat
    observation : Observation
    correction : Tensor of shape (D, m)
        The change of components that an error of the observation asks for.
    noise : callable of int
        The k-th normal draw of the shape of x.

    References
    ----------
    Lugmayr et al. (2022), https://arxiv.org/abs/2201.09865;
    Wang, Yu, Zhang (2023), https://arxiv.org/abs/2212.00490
    """

    def __init__(self, denoise, observation, correction, noise):
        self.denoise, self.observation = denoise, observation
        self.correction, self.noise = correction, noise
        self._n_draws = 0

    def __call__(self, x, gamma):
        """Denoise x (n, D) at noise levels gamma (n, D)."""
        plain = z = self.denoise(x, gamma)
        for repeat in range(_REPEATS):
            z = z + _product(self.observation.error(z), self.correction.T)
            if repeat < _REPEATS - 1:
                x = alpha(gamma) * z + sigma(gamma) * self.noise(self._n_draws)
                self._n_draws += 1
                z = self.denoise(x, gamma)
        # A row of which nothing is known is one of all.
        return torch.where(self.observation.tells, z, plain)


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
