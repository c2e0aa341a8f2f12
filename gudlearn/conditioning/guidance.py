r"""Denoisers conditioned on a linear observation; samplers call them like any denoiser.

An observation is :math:`y = A z + \eta` of the components z, with independent normal noise
:math:`\eta`. If the observed part of the data consists of whole components, it is exact to fix
those at their floor (`gudlearn.conditioning.states`), and this module is not needed.
"""

import torch

from gudlearn.diffusion.noise import alpha, sigma
from gudlearn.diffusion.process import perturb_further

# Iterations of conjugate gradients; each evaluates the network's derivative once.
_ITERATIONS = 8
# The network's derivative is a covariance up to its errors. It is not used along directions whose
# variance is below this fraction of the variance under the Gaussian.
_CREDIBLE = 0.05
# Noise variance, relative to that of the observed values, that stands for none.
_NEGLIGIBLE = 1e-9
# Most matrix entries to factorise at once, for rows with different observed entries.
_MOST_ENTRIES = 2**22
# An operator may fall below its least curvature by this factor through rounding.
_ROUNDING = 0.999
# Repetitions of a step, as in the article.
_REPEATS = 10


class Observation:
    """Linear observation of the components of n rows.

    Parameters
    ----------
    operator : Tensor of shape (m, D)
        A, acting on the scaled components.
    values : Tensor of shape (n, m)
        y.
    variances : Tensor of shape (m,)
        Noise variances, above 0.
    seen : BoolTensor of shape (n, m) or None
        Which entries of y are observed; None: all.
    covariance : Tensor of shape (D, D) or (D,) or None
        Covariance matrix of the components, or their variances; None: 1.
    """

    def __init__(self, operator, values, variances, seen=None, covariance=None):
        self.operator, self.values, self.variances = operator, values, variances
        self.seen = seen
        covariance = torch.ones_like(operator[0]) if covariance is None else covariance
        is_diagonal = covariance.ndim == 1
        self.covariance = covariance.double()
        self._root = None if is_diagonal else torch.linalg.cholesky(self.covariance)
        self._groups = list(_groups_by_pattern(seen, values))

    def only_seen(self, v):
        """Return v (n, m) with zeros at unobserved entries."""
        return v if self.seen is None else torch.where(self.seen, v, 0.0)

    @property
    def tells(self):
        """Whether anything is observed of a row, (n, 1)."""
        if self.seen is None:
            return torch.ones(len(self.values), 1, dtype=torch.bool, device=self.values.device)
        return self.seen.any(1, keepdim=True)

    def of(self, z):
        """Return A z for components z (n, D); (n, m)."""
        return _product(z, self.operator.T)

    def back(self, v):
        """Return A^T v for v (n, m); (n, D)."""
        return _product(v, self.operator)

    def error(self, z):
        """Return the residual y - A z for components z (n, D), 0 at unobserved entries; (n, m)."""
        return self.only_seen(self.values - self.of(z))

    def given_state(self, gamma):
        """Return the covariance of the components given x if they are Gaussian, in float64.

        The noise levels of all rows of gamma (n, D) must be equal: only the first row is used. The
        result is of shape (D, D), or (D,) if it is diagonal.
        """
        noise, covariance = gamma[0].double().exp(), self.covariance
        if covariance.ndim == 1:
            return covariance * noise / (covariance + noise)
        # The difference of covariances would cancel at low noise; a product of roots does not.
        root = self._root
        identity = torch.eye(len(root), dtype=root.dtype, device=root.device)
        precision = identity + root.T @ (root / noise[:, None])
        factor = torch.linalg.cholesky(precision)
        posterior_root = torch.linalg.solve_triangular(factor, root.T, upper=False)
        return posterior_root.T @ posterior_root

    def normal_change(self, error, gamma, noisy=True):
        r"""Return C A^T (A C A^T + R)^-1 times an error (n, m), with C of `given_state`; (n, D).

        If noisy is false, R is negligible.
        """
        covariance = self.given_state(gamma)
        A_C = _product(self.operator.double(), covariance)
        weights = torch.zeros_like(error, dtype=torch.float64)
        for patterns, rows, pattern in self._groups:
            # Rows that share a pattern share a matrix of the observed entries alone.
            used = patterns[0] if len(patterns) == 1 else torch.ones_like(patterns[0])
            noise = self.variances[used].double()
            gram = A_C[used] @ self.operator[used].double().T
            if not noisy:
                noise = _NEGLIGIBLE * gram.diagonal()
            errors = error[rows][:, used].double()
            if len(patterns) == 1:
                factor = torch.linalg.cholesky(gram + noise.diag())
                solved = torch.cholesky_solve(errors.T, factor).T
            else:
                both = patterns[:, :, None] & patterns[:, None]
                noise = torch.where(patterns, noise, 1.0)
                factors = torch.linalg.cholesky(torch.where(both, gram, 0.0) + noise.diag_embed())
                solved = torch.cholesky_solve(errors[:, :, None], factors[pattern])[:, :, 0]
            weights[rows[:, None], used.nonzero()[:, 0]] = solved
        return (weights @ A_C).to(self.operator)


def _groups_by_pattern(seen, values):
    """Yield groups of rows by the pattern of observed entries of values (n, m).

    Rows without observed entries are left out unless they share a group with others.

    Yields
    ------
    patterns : BoolTensor of shape (p, m)
    rows : LongTensor of shape (k,)
        Row indices.
    pattern : LongTensor of shape (k,)
        Pattern index of each of these rows.
    """
    if seen is None:
        seen = torch.ones_like(values[:1], dtype=torch.bool).expand_as(values)
    patterns, pattern = torch.unique(seen, dim=0, return_inverse=True)
    size = max(1, _MOST_ENTRIES // seen.shape[1] ** 2)
    for first in range(0, len(patterns), size):
        selected = patterns[first : first + size]
        rows = ((pattern >= first) & (pattern < first + size)).nonzero()[:, 0]
        if selected.any():
            yield selected, rows, pattern[rows] - first


class PosteriorDenoiser:
    r"""Moment matching: z given x is taken as Gaussian, with moments from the network.

    .. math:: \hat z_y = \hat z + C A^T (A C A^T + R)^{-1} (y - A \hat z), \qquad
              C = \mathrm{Cov}[z | x] = \partial_x \hat z \; \mathrm{diag}(\sigma^2/\alpha)

    This is exact for Gaussian data and their exact denoiser. The derivative of a network is a
    covariance up to its errors: the part of the residual that it does not explain credibly is
    corrected as if the data were Gaussian.

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

        def covariance_times(v):
            """C A^T v, as a vector-Jacobian product: C is symmetric."""
            (product,) = torch.autograd.grad(z, x, observation.back(v).to(z), retain_graph=True)
            return ratio * product

        def apply(v):
            """(A C A^T + R) v."""
            noiseless = observation.of(covariance_times(v))
            return observation.only_seen(noiseless + observation.variances * v)

        gaussian = observation.given_state(gamma).to(z)

        def least(v):
            """v^T R v plus a fraction of v^T A C A^T v under the Gaussian; (n, 1)."""
            back = observation.back(v)
            variance = (back * _product(back, gaussian)).sum(1, keepdim=True)
            return _CREDIBLE * variance + (observation.variances * v * v).sum(1, keepdim=True)

        v, residual = conjugate_gradients(
            apply,
            observation.error(z.detach()),
            min(_ITERATIONS, len(observation.operator)),
            least,
        )
        return z.detach() + covariance_times(v) + observation.normal_change(residual, gamma)


class ReplacementDenoiser:
    """Replaces denoised values by observed ones; the rest is corrected as if it were Gaussian.

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
        return z + self.observation.normal_change(self.observation.error(z), gamma, noisy=False)


class RepaintStep:
    """A solver's step taken ten times; in between, its result is noised back to the step's start.

    Replacement alone conditions the unobserved part as if the data were Gaussian. The repetitions
    harmonise it with the observed part. The method is robust and approximate.

    Parameters
    ----------
    step : callable
        A step of `gudlearn.diffusion.solvers`.
    tells : BoolTensor of shape (n, 1)
        Rows with any observed value; the others take the step once.
    noise : callable of int
        Maps k to the k-th standard normal draw of the shape of x.

    References
    ----------
    Lugmayr et al. (2022), https://arxiv.org/abs/2201.09865
    """

    def __init__(self, step, tells, noise):
        self.step, self.tells, self._noise = step, tells, noise
        self.stochastic = step.stochastic
        self._n_draws = 0

    def __call__(self, denoise, x, gamma_t, gamma_s, memory, noise):
        """Return the next state, and the step's memory for rows without observed values."""
        single = next_memory = None
        if not self.tells.all():
            single, next_memory = self.step(denoise, x, gamma_t, gamma_s, memory, noise)
        # Noising back invalidates a step's memory, so every repetition is a first step.
        for _ in range(_REPEATS - 1):
            step_noise = self._draw() if self.stochastic else None
            end, _ = self.step(denoise, x, gamma_t, gamma_s, None, step_noise)
            x = perturb_further(end, self._draw(), gamma_s, gamma_t)
        x, _ = self.step(denoise, x, gamma_t, gamma_s, None, noise)
        return x if single is None else torch.where(self.tells, x, single), next_memory

    def _draw(self):
        self._n_draws += 1
        return self._noise(self._n_draws)


def _product(rows, matrix):
    """Return rows times a matrix or a diagonal without autocast: observed values are precise."""
    with torch.autocast(rows.device.type, enabled=False):
        rows = rows.to(matrix.dtype)
        return rows * matrix if matrix.ndim == 1 else rows @ matrix


def conjugate_gradients(apply, b, n_iterations, least=None):
    """Solve apply(v) = b for each row of b (n, m), with apply symmetric and positive definite.

    A row stops when its residual is zero, or when the curvature d^T apply(d) along its direction d
    (n, m) is below least(d), (n, 1): an operator that is no covariance would make it diverge.

    Returns
    -------
    v, residual : Tensor of shape (n, m)
    """
    v, residual = torch.zeros_like(b), b
    is_running = torch.ones_like(b[:, :1], dtype=torch.bool)
    direction, square = residual, (residual * residual).sum(1, keepdim=True)
    tiny = torch.finfo(b.dtype).tiny
    for _ in range(n_iterations):
        image = apply(direction)
        curvature = (direction * image).sum(1, keepdim=True)
        is_running = is_running & (curvature > tiny)
        if least is not None:
            is_running = is_running & (curvature >= _ROUNDING * least(direction))
        step = torch.where(is_running, square / curvature.clamp(min=tiny), 0.0)
        v = v + step * direction
        residual = residual - step * image
        last, square = square, (residual * residual).sum(1, keepdim=True)
        direction = residual + square / last.clamp(min=tiny) * direction
    return v, residual
