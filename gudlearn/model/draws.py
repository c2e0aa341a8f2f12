"""Where a score evaluates the network: times, their weights, and the streams of the noise."""

from dataclasses import dataclass

import torch

from gudlearn._random import STRATA, keyed_uniform


@dataclass(frozen=True)
class Draws:
    """Some of the nodes of a quadrature over t, with noise that belongs to the rows.

    Rows share the nodes of a midpoint rule, so that what depends on the noise level alone is
    computed once. Where components are active one after another, and few nodes lie in the window of
    each, a midpoint rule is biased: every row then has its own times, one in each of the strata.

    Parameters
    ----------
    density : TimeDensity
    n : int
        Number of nodes, about.
    shared : bool
        Whether all rows share the nodes.
    part, n_parts : int
        These are the nodes part, part + n_parts, ...
    streams : callable (int) -> int
        Stream of the noise of a group of `STRATA` nodes, and for ``-1`` that of the times.
    """

    density: object
    n: int
    shared: bool
    part: int
    n_parts: int
    streams: object

    def calls(self, groups, keys):
        """Times and weights, each (k, B), and the noise's streams, of some groups at a time.

        Parameters
        ----------
        groups : int
            Number of groups of `STRATA` nodes.
        keys : Tensor of shape (B,)
        """
        times, weights = self._nodes(keys)
        at_once = groups * STRATA
        for first in range(0, len(times), at_once):
            some = slice(first, first + at_once)
            n_groups = -(-len(times[some]) // STRATA)
            start = first // STRATA
            streams = [
                self.streams((start + g) * self.n_parts + self.part) for g in range(n_groups)
            ]
            yield times[some], weights[some], streams

    def _nodes(self, keys):
        if self.shared:
            some = slice(self.part, None, self.n_parts)
            return tuple(v[some, None].expand(-1, len(keys)) for v in self.density.nodes(self.n))
        offset = keyed_uniform(keys, self.n, self.streams(-1)).T.to(self.density.probabilities)
        k = torch.arange(self.part, self.n, self.n_parts, device=keys.device)
        u = (k[:, None] + offset[k]) / self.n
        times, inverse_density, _ = self.density(u)
        return times, inverse_density / self.n
