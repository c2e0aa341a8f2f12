"""The fit of a preconditioner to encoded rows."""

from dataclasses import replace

import numpy as np
import torch

from gudlearn.encoding.bin_tables import fit_bin_table
from gudlearn.preconditioning import clusters
from gudlearn.preconditioning.completion import (
    completed_by_factors,
    completed_by_mixture,
    fit_completion,
)
from gudlearn.preconditioning.fit_joint import MOST_COMPONENTS, factors_of_covariance, fit_joint
from gudlearn.preconditioning.fit_latent_classes import MOST_ROWS, fit_latent_classes
from gudlearn.preconditioning.fit_marginals import fill_with_quantiles, fit_mixtures, gaussians
from gudlearn.preconditioning.preconditioner import (
    BinGrid,
    FittedDistribution,
    Preconditioner,
    ReferenceSet,
)

# The marginals of wide images are fitted to fewer points, with fewer mixture components.
_WIDE_LIMITS = {"max_components": 4, "max_points": 512}
# Largest number of factors of the joint Gaussian for images, and for a cluster.
_FACTORS_OF_IMAGES, _FACTORS_OF_CLUSTERS = 64, 12
# Numbers of clusters in the order in which they are tried, the smallest gain on held-out rows in
# nats per row that counts, and the largest number of held-out rows.
_N_CLUSTERS, _LEAST_GAIN, _MOST_HELD_OUT = (2, 4, 8, 16), 0.02, 1024


def fit_preconditioner(encoding, rows, kind):
    """Fit the closed-form denoiser.

    Parameters
    ----------
    encoding : Encoding, fitted
    rows : Rows
    kind : {"auto", "mixture", "joint", "marginal", "gaussian"}
        "auto" is "joint" up to 256 components, and "marginal" beyond and for discrete images. With
        "mixture" categories start from latent classes where these pay. "auto" does not: they win
        for a few seconds, but after 20 s of training a network that started from independent
        frequencies was as good or better on adult and nltcs.

    Returns
    -------
    Preconditioner

    Raises
    ------
    ValueError
        If kind is "joint" or "mixture" and there are too many components.
    """
    ends, active = encoding.ends, encoding.ends.numeric
    smooth = ~encoding.point_masses[active]
    tables = {int(j): encoding.tables[int(j)] for j in _discrete_columns(encoding, smooth)}
    joint = _wants_joint(encoding, kind) and active.any()
    if joint or (smooth.any() and kind != "gaussian"):
        if encoding.is_wide:
            rows = rows.take(_with_every_column(rows, encoding.some_rows(len(rows))))
        z, missing = encoding.numeric_components(rows)
        # Factors are cheap next to a network of images.
        most_factors = _FACTORS_OF_IMAGES if encoding.shape and missing is None else None
        labels = None if kind == "mixture" or rows.labels is None else rows.labels.numpy()
        fitter = _DistributionFitter(encoding, smooth, joint)
        distribution = fitter.fit(z, missing, tables, most_factors, labels)
    else:
        # The basis has centred the components.
        variances = ends.variances[active][smooth]
        mixtures = gaussians(variances) if len(variances) else None
        distribution = FittedDistribution(1.0, tables, mixtures, None)
    preconditioner = Preconditioner(
        distribution, (), smooth, _bin_grid(encoding, smooth),
        ends.gamma_0[active], ends.gamma_1[active], ends.variances[active],
    )  # fmt: skip
    if joint and kind == "mixture":
        search = _ClusterSearch(preconditioner, fitter, rows, z, missing, most_factors)
        preconditioner = preconditioner.with_clusters(search.run())
    if kind == "mixture":
        return preconditioner.with_classes(_latent_classes(encoding, rows))
    return preconditioner


def _latent_classes(encoding, rows):
    """Latent classes of rows that have categories; None where they do not pay."""
    if encoding.categories is None or encoding.ends.numeric.sum() > MOST_COMPONENTS:
        return None
    rows = rows.take(np.random.default_rng(0).permutation(len(rows))[:MOST_ROWS])
    z, missing = encoding.numeric_components(rows)
    return fit_latent_classes(encoding.categories, rows, z, missing)


def _discrete_columns(encoding, smooth):
    """Data columns of the active components whose marginals are point masses."""
    return encoding.columns[encoding.ends.numeric][~smooth]


def _bin_grid(encoding, smooth):
    columns = _discrete_columns(encoding, smooth)
    component = np.flatnonzero(encoding.ends.numeric)[~smooth]
    bins, basis = encoding.bins, encoding.basis
    return BinGrid(
        columns, bins.origin[columns], bins.width[columns], basis.mean_[columns],
        basis.scale_[component],
    )  # fmt: skip


def _wants_joint(encoding, kind):
    """Whether to fit a joint distribution of all components."""
    n_active = int(encoding.ends.numeric.sum())
    if n_active <= MOST_COMPONENTS:
        # Discrete images are learned as fast without it, and classes faster.
        discrete_images = encoding.shape is not None and encoding.bins.discrete.any()
        return kind in ("joint", "mixture", *(() if discrete_images else ("auto",)))
    if kind in ("joint", "mixture"):
        raise ValueError(
            f"preconditioning={kind!r} takes up to {MOST_COMPONENTS} components, but X has "
            f"{n_active}. Pass 'auto' or 'marginal'."
        )
    return False


def _with_every_column(rows, index):
    """An index of rows, with one more row for each column that is missing in all of them."""
    if rows.observed is None:
        return index
    empty = ~rows.observed[index].any(0)
    return np.union1d(index, rows.observed[:, empty].argmax(0)) if empty.any() else index


class _DistributionFitter:
    """Fits marginals, and with `joint` a joint Gaussian, to active components."""

    def __init__(self, encoding, smooth, joint):
        self.encoding, self.smooth, self.joint = encoding, smooth, joint

    def fit(self, z, missing, tables, most_factors=None, labels=None):
        """Fit to components z (n, D'), with a mask of missing ones and labels (n,), or None."""
        factors, completed = None, None
        if self.joint:
            factors, completed = self.complete(z, missing, most_factors, labels)
        fitted = self.marginals(z if completed is None else completed, missing, tables, completed)
        return replace(fitted, factors=factors)

    def marginals(self, z, missing, tables, completed=None):
        """Fit the marginals alone; missing values in z are ignored unless they are completed."""
        mixtures, smooth = None, self.smooth
        if smooth.any():
            z_smooth, n_observed = z[:, smooth], None
            if missing is not None:
                n_observed = (~missing[:, smooth]).sum(0)
                if completed is None:
                    fill_with_quantiles(z_smooth, missing[:, smooth])
            limits = _WIDE_LIMITS if self.encoding.is_wide else {}
            mixtures = fit_mixtures(z_smooth, n_observed, **limits)
        return FittedDistribution(1.0, tables, mixtures, None)

    def complete(self, z, missing, most_factors=None, labels=None):
        """Parameters of the joint Gaussian, and components z (n, D') that it completes.

        The former are None if components are independent, and then so is the latter; the latter
        is also None if nothing is missing.
        """
        ends = self.encoding.ends
        std = np.sqrt(ends.variances[ends.numeric])
        # Labels tell more than clusters that are found without them.
        clustered = missing is not None and labels is None
        gaussians = fit_completion(z, missing) if clustered else None
        if gaussians is not None:
            z = completed_by_mixture(z, missing, gaussians)
            return fit_joint(z, None, most_factors, labels, std), z
        # Discrete columns are learned as well with few factors, and faster.
        collinear = most_factors is None and self.smooth.all()
        factors = fit_joint(z, missing, most_factors, labels, std, collinear)
        if factors is None or missing is None:
            return factors, None
        return factors, completed_by_factors(z, missing, factors, labels)

    def tables_of(self, rows, tables):
        """Tables of a subset of rows, on the bins of the tables of all rows."""
        bins, fitted = self.encoding.bins, {}
        for j, table in tables.items():
            indices = np.rint((rows.values[:, j] - bins.origin[j]) / bins.width[j])
            if rows.observed is not None:
                indices = indices[rows.observed[:, j]]
            indices = indices.clip(table.first, table.last)
            if len(indices):
                log_pmf = fit_bin_table(indices, table.first, table.last).log_pmf
                table = replace(table, log_pmf=log_pmf)
            fitted[j] = table
        return fitted


class _ClusterSearch:
    """Divides rows into more clusters as long as the likelihood of held-out rows grows."""

    def __init__(self, preconditioner, fitter, rows, z, missing, most_factors):
        order = np.random.default_rng(0).permutation(len(z))[: clusters.MOST_ROWS]
        self.rows, self.z = rows.take(order), z[order]
        self.missing = None if missing is None else missing[order]
        self.preconditioner, self.fitter, self.most_factors = preconditioner, fitter, most_factors
        self.complete = self._completed()
        self.std = clusters.deviations(self.z, self.missing)

    def run(self):
        """The clusters, a list of FittedDistribution; empty if one distribution is better."""
        index = np.arange(len(self.z))
        held_out, train = index[: len(index) // 5][:_MOST_HELD_OUT], index[len(index) // 5 :]
        n_best, best = 1, None
        for n_clusters in _N_CLUSTERS:
            if len(train) < 2 * n_clusters * clusters.LEAST_ROWS:
                break
            if best is None:
                best = self._nll([self._undivided(train)], held_out)
            nll = self._nll(self._divided(train, n_clusters), held_out)
            gain = best - nll
            if not gain.mean() > max(_LEAST_GAIN, gain.std() / len(gain) ** 0.5):
                break
            n_best, best = n_clusters, nll
        return self._divided(index, n_best) if n_best > 1 else []

    def _nll(self, fitted, held_out):
        """Upper bound of the nll of each held-out row in nats, up to a constant."""
        missing = None if self.missing is None else torch.from_numpy(self.missing[held_out])
        z = torch.from_numpy(self.z[held_out])
        joint = self.preconditioner.joint_of(fitted)
        return clusters.denoising_nll(joint, z, missing, *self.preconditioner.noise_levels())

    def _undivided(self, train):
        tables = self._tables_of(train)
        z, missing = clusters.with_every_column_observed(self.z, self.missing, train)
        return self.fitter.fit(z, missing, tables, self.most_factors)

    def _divided(self, index, n_clusters):
        return [
            self._fit_cluster(cluster, index[cluster.rows])
            for cluster in clusters.find_clusters(self.complete[index], n_clusters)
        ]

    def _fit_cluster(self, cluster, index):
        """The distribution of a cluster, whose rows have an index."""
        z, tables = self.complete[index], self._tables_of(index)
        if cluster.covariance is None:
            fitted = self.fitter.fit(z, None, tables, _FACTORS_OF_CLUSTERS)
        else:
            # The Gaussian of all rows in proportion to their posterior, not of those drawn.
            fitted = self.fitter.marginals(z, None, tables)
            found = factors_of_covariance(cluster.mean, cluster.covariance, _FACTORS_OF_CLUSTERS)
            fitted = replace(fitted, factors=found)
        factors = clusters.with_least_std(fitted.factors, z, None, self.std)
        return replace(fitted, weight=cluster.weight, factors=factors)

    def _tables_of(self, index):
        tables = self.preconditioner.distribution.tables
        return self.fitter.tables_of(self.rows.take(index), tables)

    def _completed(self):
        """Components z with draws of the missing ones."""
        if self.missing is None:
            return self.z
        _, completed = self.fitter.complete(self.z, self.missing, self.most_factors)
        if completed is None:
            completed = self.z.copy()
            fill_with_quantiles(completed, self.missing)
        return completed


def make_reference_set(encoding, rows):
    """A reference set of rows that the network looks up.

    Where most rows are unique, only one of equal rows is kept: otherwise a row in training would
    see its own copy. Where rows take few values, copies are part of the distribution.
    """
    keys = rows.keys.numpy()
    order = np.argsort(keys, kind="stable")
    first = np.append(True, np.diff(keys[order]) != 0)
    if 2 * first.sum() >= len(rows):
        order = order[first]
    z, missing = encoding.numeric_components(rows.take(order))
    observed = None if missing is None else ~missing
    return ReferenceSet(z.astype(np.float32), observed, keys[order])
