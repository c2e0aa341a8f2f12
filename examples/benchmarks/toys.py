"""Conditionals of distributions in five dimensions with conditionals in closed form.

    python toys.py --seconds 120 --seeds 0 1

A Gaussian, and a mixture of five. A model is fitted to 20,000 rows and draws columns 0, 1 and 2
given columns 3 and 4 of new rows. A classifier (C2ST, accuracy of gradient-boosted trees over five
folds, 0.5 is perfect) tries to distinguish these rows from draws of the true conditional. The same
draws with a planted error, values 10 % too large, show what it can detect. The means of
log p(A | B), log p(B) and the joint log-density are compared with their closed forms, in nats, and
with each other by the chain rule.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from samplers import c2st, c2st_difference, c2st_error
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn.datasets import make_spd_matrix

from gudlearn import GUDGenerator

A, B = np.arange(3), np.arange(3, 5)
PLANTED = 0.1


class Mixture:
    """A mixture of Gaussians with its conditionals."""

    def __init__(self, n_components):
        rng = np.random.default_rng(0)
        self.means = rng.normal(scale=2, size=(n_components, 5))
        self.covariances = np.array(
            [make_spd_matrix(5, random_state=k) for k in range(n_components)]
        )

    def sample(self, n, rng):
        """Rows (n, 5)."""
        k = rng.integers(len(self.means), size=n)
        roots = np.linalg.cholesky(self.covariances)
        return self.means[k] + np.einsum("nij,nj->ni", roots[k], rng.normal(size=(n, 5)))

    def log_joint(self, X, columns):
        """Log-density of some columns and of each component, (n, n_components)."""
        pairs = zip(self.means, self.covariances, strict=True)
        parts = [
            multivariate_normal(m[columns], c[np.ix_(columns, columns)]).logpdf(X[:, columns])
            for m, c in pairs
        ]
        return np.stack(parts, 1) - np.log(len(self.means))

    def log_density(self, X, columns):
        """Log-density of some columns, (n,)."""
        return logsumexp(self.log_joint(X, columns), axis=1)

    def complete(self, X, rng):
        """Rows with columns A drawn given columns B."""
        log_weights = self.log_joint(X, B)
        cumulative = np.exp(log_weights - logsumexp(log_weights, axis=1, keepdims=True)).cumsum(1)
        k = (rng.random((len(X), 1)) > cumulative).sum(1).clip(max=len(self.means) - 1)
        out = X.copy()
        for component, (m, c) in enumerate(zip(self.means, self.covariances, strict=True)):
            rows = np.flatnonzero(k == component)
            gain = c[np.ix_(A, B)] @ np.linalg.inv(c[np.ix_(B, B)])
            rest = c[np.ix_(A, A)] - gain @ c[np.ix_(B, A)]
            noise = rng.normal(size=(len(rows), len(A))) @ np.linalg.cholesky(rest).T
            out[np.ix_(rows, A)] = m[A] + (X[np.ix_(rows, B)] - m[B]) @ gain.T + noise
        return out


def density_errors(gen, truth, X):
    """Mean errors of log-densities, in nats, and the error of the chain rule."""
    alone = X.copy()
    alone[:, A] = np.nan
    given = gen.score_samples(X, given_columns=B)
    marginal, joint = gen.score_samples(alone), gen.score_samples(X)
    true_marginal, true_joint = truth.log_density(X, B), truth.log_density(X, np.arange(5))
    return {
        "log p(A|B)": np.mean(given - (true_joint - true_marginal)),
        "log p(B)": np.mean(marginal - true_marginal),
        "log p(A,B)": np.mean(joint - true_joint),
        "chain rule": np.mean(marginal + given - joint),
    }


def main():
    """Fit, draw, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--rate", type=float, default=0.5)
    parser.add_argument("--preconditioning", choices=("joint", "mixture"), default="joint")
    parser.add_argument("--rows", type=int, default=5000, help="on each side")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name, n_components in (("Gaussian", 1), ("mixture", 5)):
        truth = Mixture(n_components)
        for seed in options.seeds:
            rng = np.random.default_rng([seed, 1])
            gen = GUDGenerator(
                conditional_rate=options.rate,
                preconditioning=options.preconditioning,
                max_time=options.seconds,
                random_state=seed,
            ).fit(truth.sample(20_000, rng))
            partial, others = truth.sample(options.rows, rng), truth.sample(options.rows, rng)
            held = truth.complete(others, rng)
            partial[:, A] = np.nan
            drawn = gen.sample(given=partial, random_state=seed)
            planted = drawn.copy()
            planted[:, A] *= 1 + PLANTED
            right, right_planted = c2st(held, drawn, seed), c2st(held, planted, seed)
            print(f"{name} seed {seed}: C2ST {c2st_error(right)[0]:.4f} ± "
                  f"{c2st_error(right)[1]:.4f}, planted {c2st_error(right_planted)[0]:.4f}, "
                  "further by {:+.4f} ± {:.4f}".format(*c2st_difference(right_planted, right)),
                  flush=True)  # fmt: skip
            errors = density_errors(gen, truth, truth.sample(2000, rng))
            text = ", ".join(f"{k} {v:+.4f}" for k, v in errors.items())
            print(f"{name} seed {seed}: errors in nats: {text}", flush=True)


if __name__ == "__main__":
    main()
