"""Conditionals of laws in five dimensions whose conditionals are known in closed form.

    python toys.py --seconds 120 --seeds 0 1

A Gaussian and a mixture of five. Of a model that is fitted to 20,000 rows, columns 0, 1 and 2 are
drawn given 3 and 4 of new rows, and so they are from the law itself: a classifier (C2ST, accuracy
of gradient-boosted trees across five folds, 0.5 is perfect) has to tell the rows apart. It is shown
the same draws with an error planted, too: drawn values 10 % too large. The means of log p(A | B),
of log p(B) and of the joint density are compared with their closed forms, in nats, and with each
other by the chain rule.
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


class Law:
    """A mixture of Gaussians with its conditionals."""

    def __init__(self, n_members):
        rng = np.random.default_rng(0)
        self.means = rng.normal(scale=2, size=(n_members, 5))
        self.covariances = np.array([make_spd_matrix(5, random_state=k) for k in range(n_members)])

    def sample(self, n, rng):
        """Rows (n, 5)."""
        k = rng.integers(len(self.means), size=n)
        roots = np.linalg.cholesky(self.covariances)
        return self.means[k] + np.einsum("nij,nj->ni", roots[k], rng.normal(size=(n, 5)))

    def members(self, X, columns):
        """Log-density of some columns by member, (n, members)."""
        pairs = zip(self.means, self.covariances, strict=True)
        parts = [
            multivariate_normal(m[columns], c[np.ix_(columns, columns)]).logpdf(X[:, columns])
            for m, c in pairs
        ]
        return np.stack(parts, 1) - np.log(len(self.means))

    def log_density(self, X, columns):
        """Log-density of some columns, (n,)."""
        return logsumexp(self.members(X, columns), axis=1)

    def complete(self, X, rng):
        """Rows whose columns A are drawn given B."""
        log_weights = self.members(X, B)
        chance = np.exp(log_weights - logsumexp(log_weights, axis=1, keepdims=True)).cumsum(1)
        k = (rng.random((len(X), 1)) > chance).sum(1).clip(max=len(self.means) - 1)
        out = X.copy()
        for member in range(len(self.means)):
            rows = np.flatnonzero(k == member)
            m, c = self.means[member], self.covariances[member]
            gain = c[np.ix_(A, B)] @ np.linalg.inv(c[np.ix_(B, B)])
            rest = c[np.ix_(A, A)] - gain @ c[np.ix_(B, A)]
            noise = rng.normal(size=(len(rows), len(A))) @ np.linalg.cholesky(rest).T
            out[np.ix_(rows, A)] = m[A] + (X[np.ix_(rows, B)] - m[B]) @ gain.T + noise
        return out


def densities(gen, law, X):
    """Mean errors of the densities, in nats, and the two sides of the chain rule."""
    alone = X.copy()
    alone[:, A] = np.nan
    given = gen.score_samples(X, given_columns=B)
    part, joint = gen.score_samples(alone), gen.score_samples(X)
    exact_part, exact = law.log_density(X, B), law.log_density(X, np.arange(5))
    return {
        "log p(A|B)": np.mean(given - (exact - exact_part)),
        "log p(B)": np.mean(part - exact_part),
        "log p(A,B)": np.mean(joint - exact),
        "chain rule": np.mean(part + given - joint),
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
    for name, n_members in (("Gaussian", 1), ("mixture", 5)):
        law = Law(n_members)
        for seed in options.seeds:
            rng = np.random.default_rng([seed, 1])
            gen = GUDGenerator(
                conditional_rate=options.rate,
                preconditioning=options.preconditioning,
                max_time=options.seconds,
                random_state=seed,
            ).fit(law.sample(20_000, rng))
            partial, others = law.sample(options.rows, rng), law.sample(options.rows, rng)
            held = law.complete(others, rng)
            partial[:, A] = np.nan
            drawn = gen.sample(given=partial, random_state=seed)
            planted = drawn.copy()
            planted[:, A] *= 1 + PLANTED
            right, right_planted = c2st(held, drawn, seed), c2st(held, planted, seed)
            print(f"{name} seed {seed}: C2ST {c2st_error(right)[0]:.4f} ± "
                  f"{c2st_error(right)[1]:.4f}, planted {c2st_error(right_planted)[0]:.4f}, "
                  "further by {:+.4f} ± {:.4f}".format(*c2st_difference(right_planted, right)),
                  flush=True)  # fmt: skip
            found = densities(gen, law, law.sample(2000, rng))
            told = ", ".join(f"{k} {v:+.4f}" for k, v in found.items())
            print(f"{name} seed {seed}: nats off: {told}", flush=True)


if __name__ == "__main__":
    main()
