r"""Denoisers given a linear observation of the data: what samplers call in the place of a denoiser.

An observation is :math:`y = A z + \eta` of the components z, with independent normal noise
:math:`\eta`. Where its part of the data is made of whole components it is exact to hold those at
their floor (``diffusion/states``), and nothing of this module is needed.
"""

import torch

from gudlearn.diffusion.noise import alpha, sigma
from gudlearn.diffusion.process import perturb_further

# Steps of conjugate gradients, each of which takes the network's derivative once.
_ITERATIONS = 8
# A direction whose variance is less than this share of what a normal law gives it is not left to
# the network's derivative, which is a covariance but for its errors.
_CREDIBLE = 0.05
# Of the variances of what is known, where it is known without noise: as good as nothing.
_SMALL = 1e-9
# Of the matrices of rows that have not seen the same.
_MOST_ENTRIES = 2**22
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
    covariance : Tensor of shape (D, D) or (D,) or None
        Of the components, or their variances; None: 1.
    """

    def __init__(self, operator, values, variances, seen=None, covariance=None):
        self.operator, self.values, self.variances = operator, values, variances
        self.seen = seen
        covariance = torch.ones_like(operator[0]) if covariance is None else covariance
        alone = covariance.ndim == 1
        self.covariance = covariance.double()
        self._root = None if alone else torch.linalg.cholesky(self.covariance)
        self._groups = list(_alike(seen, values))

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

    def given_state(self, gamma):
        """Covariance of the components given the state, were they normal; (D, D) or (D,), float64.

        Of the noise levels gamma (n, D) the first row stands for all.
        """
        noise, covariance = gamma[0].double().exp(), self.covariance
        if covariance.ndim == 1:
            return covariance * noise / (covariance + noise)
        # From a root of it: a difference would lose its digits where there is little noise.
        root = self._root
        told = torch.eye(len(root)).to(root) + root.T @ (root / noise[:, None])
        rest = torch.linalg.solve_triangular(torch.linalg.cholesky(told), root.T, upper=False)
        return rest.T @ rest

    def normal_change(self, error, gamma, noisy=True):
        r"""C A^T (A C A^T + R)^-1 times an error (n, m), with C of `given_state`; (n, D).

        If it is not noisy R is nothing.
        """
        covariance = self.given_state(gamma)
        spread = _product(self.operator.double(), covariance)
        found = torch.zeros_like(error, dtype=torch.float64)
        for patterns, rows, pattern in self._groups:
            # Those of one pattern share a matrix of what they have seen.
            some = patterns[0] if len(patterns) == 1 else torch.ones_like(patterns[0])
            noise = self.variances[some].double()
            gram = spread[some] @ self.operator[some].double().T
            if not noisy:
                noise = _SMALL * gram.diagonal()
            errors = error[rows][:, some].double()
            if len(patterns) == 1:
                factor = torch.linalg.cholesky(gram + noise.diag())
                solved = torch.cholesky_solve(errors.T, factor).T
            else:
                both = patterns[:, :, None] & patterns[:, None]
                noise = torch.where(patterns, noise, 1.0)
                factors = torch.linalg.cholesky(torch.where(both, gram, 0.0) + noise.diag_embed())
                solved = torch.cholesky_solve(errors[:, :, None], factors[pattern])[:, :, 0]
            found[rows[:, None], some.nonzero()[:, 0]] = solved
        return (found @ spread).to(self.operator)


def _alike(seen, values):
    """Groups of rows that have seen the same entries of values (n, m), or similar ones.

    Yields
    ------
    patterns : BoolTensor of shape (p, m)
    rows : LongTensor of shape (k,)
    pattern : LongTensor of shape (k,)
        Of each of these rows.
    """
    if seen is None:
        seen = torch.ones_like(values[:1], dtype=torch.bool).expand_as(values)
    patterns, pattern = torch.unique(seen, dim=0, return_inverse=True)
    size = max(1, _MOST_ENTRIES // seen.shape[1] ** 2)
    for first in range(0, len(patterns), size):
        some = patterns[first : first + size]
        rows = ((pattern >= first) & (pattern < first + size)).nonzero()[:, 0]
        if some.any():
            yield some, rows, pattern[rows] - first


class PosteriorDenoiser:
    r"""Moment matching: the data given the state are taken for normal, of the network's moments.

    .. math:: \hat z_y = \hat z + C A^T (A C A^T + R)^{-1} (y - A \hat z), \qquad
              C = \mathrm{Cov}[z | x] = \partial_x \hat z \; \mathrm{diag}(\sigma^2/\alpha)

    Exact where the data are normal and the denoiser is. The derivative of a network is a covariance
    but for its errors: what of the observation it does not account for credibly is made up for as
    if the data were normal.

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

        normal = observation.given_state(gamma).to(z)

        def least(v):
            """A share of v^T A C A^T v of a normal law, and v^T R v; (n, 1)."""
            back = observation.back(v)
            share = (back * _product(back, normal)).sum(1, keepdim=True)
            return _CREDIBLE * share + (observation.variances * v * v).sum(1, keepdim=True)

        v, rest = conjugate_gradients(
            covariance,
            observation.error(z.detach()),
            min(_ITERATIONS, len(observation.operator)),
            least,
        )
        return z.detach() + spread(v) + observation.normal_change(rest, gamma)


class ReplacementDenoiser:
    """What is known is put in the place of what was guessed, as if the data were normal.

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
    """A solver's step taken ten times, between which its end is made as noisy as its beginning.

    Of what the known part says of the rest replacement alone knows what a normal law does; these
    repetitions let the two fall in with each other. It is robust and approximate.

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
    """Rows times a matrix, or a diagonal, in full precision: known values are known very well."""
    with torch.autocast(rows.device.type, enabled=False):
        rows = rows.to(matrix.dtype)
        return rows * matrix if matrix.ndim == 1 else rows @ matrix


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
