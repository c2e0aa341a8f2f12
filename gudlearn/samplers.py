"""Samplers: the solver and the number of steps that turn noise into data.

A sampler is a specification; `build` makes the step that `gudlearn.diffusion.solvers.integrate`
repeats. `steps` is the number of steps, not of network evaluations.
"""

from abc import ABC, abstractmethod
from numbers import Integral, Real

from sklearn.base import BaseEstimator

from gudlearn._versions import Versioned
from gudlearn.diffusion.solvers import DDIMStep, DPMSolverStep, EulerMaruyamaStep, HeunStep


class Sampler(Versioned, BaseEstimator, ABC):
    """Abstract base class of samplers, the specifications of solvers."""

    @abstractmethod
    def build(self):
        """Validate the parameters and make the step.

        Returns
        -------
        callable
            A step of `gudlearn.diffusion.solvers`, with the attributes `order`, `evaluations` (of
            the denoiser in a step) and `stochastic`.

        Raises
        ------
        ValueError
            If a parameter is out of range.
        TypeError
            If a parameter is of the wrong type.
        """


class DDIM(Sampler):
    """First-order sampler, deterministic if eta is 0.

    Parameters
    ----------
    steps : int, default=50
        Number of steps.
    eta : float in [0, 1], default=0.0
        0 is deterministic, 1 is ancestral sampling.

    References
    ----------
    Song, Meng, Ermon (2021), https://arxiv.org/abs/2010.02502

    Examples
    --------
    >>> from gudlearn.samplers import DDIM
    >>> DDIM(steps=20).build()
    DDIMStep(eta=0.0)
    """

    def __init__(self, steps: int = 50, eta: float = 0.0) -> None:
        self.steps = steps
        self.eta = eta

    def build(self):
        """Validate the parameters and make the step; see `Sampler.build`."""
        _check_steps(self.steps)
        if isinstance(self.eta, bool) or not isinstance(self.eta, Real):
            raise TypeError(f"eta={self.eta!r} must be a number, got {type(self.eta).__name__}.")
        if not 0 <= self.eta <= 1:
            raise ValueError(
                f"eta={self.eta} must lie between 0 (deterministic) and 1 (ancestral sampling)."
            )
        return DDIMStep(float(self.eta))


class Ancestral(Sampler):
    """Ancestral sampling: each step draws from the posterior of the forward process.

    Parameters
    ----------
    steps : int, default=500
        Number of steps.

    References
    ----------
    Ho, Jain, Abbeel (2020), https://arxiv.org/abs/2006.11239

    Examples
    --------
    >>> from gudlearn.samplers import Ancestral
    >>> Ancestral().build()
    DDIMStep(eta=1.0)
    """

    def __init__(self, steps: int = 500) -> None:
        self.steps = steps

    def build(self):
        """Validate the parameters and make the step; see `Sampler.build`."""
        _check_steps(self.steps)
        return DDIMStep(eta=1.0)


class Heun(Sampler):
    """Heun's second-order sampler in exponential form, with two evaluations per step.

    Parameters
    ----------
    steps : int, default=25
        Number of steps.

    References
    ----------
    Karras et al. (2022), https://arxiv.org/abs/2206.00364

    Examples
    --------
    >>> from gudlearn.samplers import Heun
    >>> Heun().build().evaluations
    2
    """

    def __init__(self, steps: int = 25) -> None:
        self.steps = steps

    def build(self):
        """Validate the parameters and make the step; see `Sampler.build`."""
        _check_steps(self.steps)
        return HeunStep()


class DPMSolver(Sampler):
    """DPM-Solver++ 2M, a second-order sampler with one evaluation per step.

    Parameters
    ----------
    steps : int, default=20
        Number of steps.

    References
    ----------
    Lu et al. (2022), https://arxiv.org/abs/2211.01095

    Examples
    --------
    >>> from gudlearn.samplers import DPMSolver
    >>> DPMSolver().build().order
    2
    """

    def __init__(self, steps: int = 20) -> None:
        self.steps = steps

    def build(self):
        """Validate the parameters and make the step; see `Sampler.build`."""
        _check_steps(self.steps)
        return DPMSolverStep()


class EulerMaruyama(Sampler):
    """Euler-Maruyama on the reverse SDE, the baseline of the GUD paper.

    Parameters
    ----------
    steps : int, default=500
        Number of steps. Sampling is unstable if gamma of a component falls by 2 or more in a step.
        Components that are active for a short time therefore need many steps.

    References
    ----------
    Gerdes, Welling, Cheng (2024), https://arxiv.org/abs/2410.02667

    Examples
    --------
    >>> from gudlearn.samplers import EulerMaruyama
    >>> EulerMaruyama().build().stochastic
    True
    """

    def __init__(self, steps: int = 500) -> None:
        self.steps = steps

    def build(self):
        """Validate the parameters and make the step; see `Sampler.build`."""
        _check_steps(self.steps)
        return EulerMaruyamaStep()


def _check_steps(steps):
    if isinstance(steps, bool) or not isinstance(steps, Integral):
        raise TypeError(f"steps={steps!r} must be a whole number, got {type(steps).__name__}.")
    if steps < 1:
        raise ValueError(f"steps={steps} must be at least 1.")
