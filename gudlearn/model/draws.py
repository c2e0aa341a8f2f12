"""Where a score evaluates the network: times, their weights, and the streams of the noise."""

from dataclasses import dataclass

import torch

from gudlearn._random import STRATA, keyed_stratified_normal, keyed_uniform

# Nodes that share two groups of stratified noise, which alternate: the difference between the two
# tells the noise of their sum.
BLOCK = 2 * STRATA


@dataclass(frozen=True)
class Draws:
    """Some of the nodes of a quadrature over t, with noise that belongs to the rows.

    Rows share the nodes of a midpoint rule, so that what depends on the noise level alone is
    computed once. With few nodes, also in the window of each component where components are active
    one after another, a midpoint rule is biased: every row then has its own times, one in each of
    the strata.

    Parameters
    ----------
    density : TimeDensity
    n : int
        Number of nodes, about.
    shared : bool
        Whether all rows share the nodes.
    part, n_parts : int
        These are the nodes part, part + n_parts, ...
    stream : callable (int) -> int
        Stream of the noise of a group of `STRATA` nodes, and for ``-1`` that of the times.
    """

    density: object
    n: int
    shared: bool
    part: int
    n_parts: int
    stream: callable

    def blocks(self, at_once, keys, size):
        """Times and weights, each (k, B), and noise, (k, B, size), of some blocks at a time.

        Parameters
        ----------
        at_once : int
            Number of blocks.
        keys : Tensor of shape (B,)
        size : int
            Number of components.
        """
        times, weights = self._nodes(keys)
        n_groups = -(-len(times) // BLOCK) * 2
        streams = [self.stream(g * self.n_parts + self.part) for g in range(n_groups)]
        for first in range(0, len(times), at_once * BLOCK):
            some = slice(first, first + at_once * BLOCK)
            groups = streams[first // STRATA : first // STRATA + 2 * at_once]
            eps = keyed_stratified_normal(keys, size, groups)
            eps = eps.unflatten(0, (-1, 2, STRATA)).transpose(1, 2).flatten(0, 2)
            yield times[some], weights[some], eps[: len(times[some])]

    def _nodes(self, keys):
        if self.shared:
            some = slice(self.part, None, self.n_parts)
            return tuple(v[some, None].expand(-1, len(keys)) for v in self.density.nodes(self.n))
        offset = keyed_uniform(keys, self.n, self.stream(-1)).T.to(self.density.probabilities)
        k = torch.arange(self.part, self.n, self.n_parts, device=keys.device)
        u = (k[:, None] + offset[k]) / self.n
        times, inverse_density, _ = self.density(u)
        return times, inverse_density / self.n
