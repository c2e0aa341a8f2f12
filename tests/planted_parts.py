"""Bases and schedules that break their contract, each in one way."""

import numpy as np
import torch

from gudlearn.bases import IdentityBasis, PCABasis
from gudlearn.diffusion.paths import GammaPath
from gudlearn.schedules import LinearSchedule, Schedule


class Truncated(PCABasis):
    def rotate_back(self, components):
        return super().rotate_back(np.where(self.scale_ > self.scale_.min(), components, 0))


class CentresBatches(IdentityBasis):
    def transform(self, X):
        Z = super().transform(X)
        return Z - Z.mean(axis=0) / 2


class Doubled(PCABasis):
    def rotate(self, centred):
        return 2 * super().rotate(centred)

    def rotate_back(self, components):
        return super().rotate_back(components) / 2


class LogDeterminantOfTheInverse(PCABasis):
    def fit(self, X, y=None):
        super().fit(X)
        self.log_abs_det_jacobian_ *= -1
        return self


class RotatesBackwards(PCABasis):
    def rotate_back(self, components):
        return -super().rotate_back(components)

    def inverse_transform(self, Z):
        return 2 * self.mean_ - super().inverse_transform(Z)


class VariancesAfterScaling(IdentityBasis):
    def fit(self, X, y=None):
        super().fit(X)
        self.component_variances_ = self.component_variances_ / self.scale_**2
        return self


class ScaledTwice(IdentityBasis):
    def fit(self, X, y=None):
        super().fit(X)
        self.scale_ = 2 * self.scale_
        self.log_abs_det_jacobian_ = -np.log(self.scale_).sum()
        return self


class DividesByZero(IdentityBasis):
    def fit(self, X, y=None):
        super().fit(X)
        self.component_variances_ = np.where(self.dead_, 0.0, self.component_variances_)
        return self


class AlwaysFloat64(IdentityBasis):
    def transform(self, X):
        return super().transform(X).astype(np.float64)


class OneNameForAll(PCABasis):
    def _component_names(self, input_names):
        return np.repeat("component", self.n_components_)


class OneOrder(PCABasis):
    def natural_order(self):
        return [0.0]


class NoNoise(IdentityBasis):
    def component_noise(self, column_std):
        return None


class NoiseOfTheVariance(IdentityBasis):
    def component_noise(self, column_std):
        return column_std**2


class SaysThatItMixesNothing(PCABasis):
    def mixing(self):
        return np.arange(self.n_features_in_), np.arange(self.n_components_)


class SaysThatItIsTheColumns(PCABasis):
    def component_columns(self):
        return np.arange(self.n_components_)


class PicklesRounded(IdentityBasis):
    def __getstate__(self):
        state = dict(super().__getstate__())
        state["mean_"] = np.round(state["mean_"], 3)
        return state


#: Each class, the check that is to catch it, and others that may, since they rest on the same.
BASIS_FAULTS = [
    (Truncated, "check_basis_inverse", {"check_basis_rotate", "check_basis_constant_columns"}),
    (CentresBatches, "check_basis_affine", {"check_basis_inverse", "check_basis_rotate"}),
    (
        Doubled, "check_basis_orthonormal",
        {"check_basis_log_determinant", "check_basis_variances", "check_basis_noise"},
    ),
    (LogDeterminantOfTheInverse, "check_basis_log_determinant", set()),
    (RotatesBackwards, "check_basis_rotate", {"check_basis_dtype"}),
    (VariancesAfterScaling, "check_basis_variances", {"check_basis_scale"}),
    (ScaledTwice, "check_basis_scale", set()),
    (DividesByZero, "check_basis_constant_columns", set()),
    (AlwaysFloat64, "check_basis_dtype", set()),
    (OneNameForAll, "check_basis_names", set()),
    (OneOrder, "check_basis_names", set()),
    (NoNoise, "check_basis_noise", set()),
    (NoiseOfTheVariance, "check_basis_noise", set()),
    (SaysThatItMixesNothing, "check_basis_mixing", set()),
    (SaysThatItIsTheColumns, "check_basis_mixing", set()),
    (PicklesRounded, "check_basis_copies", set()),
]  # fmt: skip


class Line(GammaPath):
    """gamma is linear in t, exactly at both ends."""

    def fraction(self, t):
        return t

    def __call__(self, t):
        t = t if t.ndim == 2 else t[:, None]
        return torch.lerp(self.gamma_0.to(t), self.gamma_1.to(t), self.fraction(t).expand(
            len(t), len(self.gamma_0)
        ))  # fmt: skip

    def gamma_and_rate(self, t):
        gamma = self(t)
        return gamma, (self.gamma_1 - self.gamma_0).to(t) * torch.ones_like(gamma)


class MissesTheEnd(Line):
    def fraction(self, t):
        return t * (1 - 1e-4)


class FallsBetween(Line):
    def fraction(self, t):
        return t + 0.2 * torch.sin(4 * torch.pi * t) * t * (1 - t) * 4

    def gamma_and_rate(self, t):
        return GammaPath.gamma_and_rate(self, t)


class OneTimeForAll(Line):
    def __call__(self, t):
        return super().__call__(t[:, 0] if t.ndim == 2 else t)


class HalfTheRate(Line):
    def gamma_and_rate(self, t):
        gamma, rate = super().gamma_and_rate(t)
        return gamma, rate / 2


class KinksAtTheEnd(Line):
    def __init__(self, gamma_0, gamma_1, kinks):
        super().__init__(gamma_0, gamma_1, kinks)
        self.kinks = (0.5, 1.0)


class PathSchedule(Schedule):
    """A schedule of one of the paths above."""

    path = Line

    def build(self, components, end_points):
        if len(end_points.gamma_0) != len(components.variances):
            raise ValueError("end_points has another number of components.")
        return self.path(end_points.gamma_0, end_points.gamma_1, ())


def of_path(path):
    """A schedule with this path."""
    return type(f"{path.__name__}Schedule", (PathSchedule,), {"path": path, "__module__": __name__})


# Pickle finds classes by their names.
MissesTheEndSchedule, FallsBetweenSchedule = of_path(MissesTheEnd), of_path(FallsBetween)
OneTimeForAllSchedule, HalfTheRateSchedule = of_path(OneTimeForAll), of_path(HalfTheRate)
KinksAtTheEndSchedule = of_path(KinksAtTheEnd)


class Bent(Line):
    """Components move as a power of t."""

    def __init__(self, gamma_0, gamma_1, power):
        super().__init__(gamma_0, gamma_1, ())
        self.power = torch.as_tensor(power)

    def fraction(self, t):
        return t ** self.power.to(t)

    def gamma_and_rate(self, t):
        return GammaPath.gamma_and_rate(self, t)


class ScaleBends(Schedule):
    def build(self, components, end_points):
        LinearSchedule().build(components, end_points)
        return Bent(end_points.gamma_0, end_points.gamma_1, 1 + components.scale)


class TakesAnySize(Schedule):
    def build(self, components, end_points):
        return Line(end_points.gamma_0, end_points.gamma_1, ())


class CountsBuilds(PathSchedule):
    def __init__(self, count=0):
        self.count = count

    def build(self, components, end_points):
        self.count += 1
        return super().build(components, end_points)


class ReturnsItself(PathSchedule):
    def check_params(self):
        return self


class RandomBend(PathSchedule):
    def build(self, components, end_points):
        super().build(components, end_points)
        scaled = components.variances / components.scale**2
        seed = np.random.default_rng()
        power = 1 + seed.random() * np.ones_like(scaled)
        return Bent(end_points.gamma_0, end_points.gamma_1, power)


SCHEDULE_FAULTS = [
    (MissesTheEndSchedule, "check_schedule_end_points", set()),
    (FallsBetweenSchedule, "check_schedule_increases", {"check_schedule_rate"}),
    (OneTimeForAllSchedule, "check_schedule_shape", set()),
    (HalfTheRateSchedule, "check_schedule_rate", set()),
    (KinksAtTheEndSchedule, "check_schedule_kinks", set()),
    (ScaleBends, "check_schedule_scaling", set()),
    (TakesAnySize, "check_schedule_sizes", set()),
    (CountsBuilds, "check_schedule_parameters", set()),
    (ReturnsItself, "check_schedule_parameters", set()),
    (RandomBend, "check_schedule_copies", {"check_schedule_scaling"}),
]
