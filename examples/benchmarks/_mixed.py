"""Mixed tables of `tables.py` and `rivals.py`: how they are read, and simple models of them."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
from _peers import COMPONENTS, VALIDATION_FRACTION, Clock, best_gmm
from scipy import sparse
from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree
from scipy.special import logsumexp, ndtr, ndtri
from sklearn.model_selection import train_test_split

TEST_FRACTION = 0.2
UNKNOWN = "?"
# Columns that are no features. Known figures for the categories of adult count them.
NOT_FEATURES = {"adult": ["split"]}
# The least improvement of a validation score by which EM goes on, and steps without it.
LEAST_GAIN, PATIENCE = 1e-4, 5


@dataclass(frozen=True)
class Table:
    """A frame and the names of its columns of categories."""

    name: str
    frame: pd.DataFrame
    categories: list
    target: object = None


def loader(directory):
    """The module `DIR/load.py`."""
    if str(directory) not in sys.path:
        sys.path.insert(0, str(directory))
    return importlib.import_module("load")


@cache
def read_frame(directory, name, codes, n_rows, features=True):
    """One table, or its features alone: categories as text, or as integer codes.

    With codes, a missing category is one more code and rows with missing numbers are dropped.
    """
    frame, schema = loader(directory).table(name)
    frame = frame.drop(columns=NOT_FEATURES.get(name, []) if features else [])
    categories = [c for c in schema["categorical"] if c in frame]
    if n_rows is not None and n_rows < len(frame):
        frame = frame.sample(n_rows, random_state=0)
    frame = frame.reset_index(drop=True)
    for c in categories:
        # A code that was read beside missing values is a float: 1.0 is "1".
        whole = frame[c].convert_dtypes()
        frame[c] = whole.astype(object).where(whole.notna(), None).map(str, na_action="ignore")
    if codes:
        numbers = [c for c in frame if c not in categories]
        frame = with_codes(frame, categories).dropna(subset=numbers).reset_index(drop=True)
    return Table(name, frame, categories, schema["target"])


def with_codes(frame, columns):
    """A frame with integer codes in place of some columns, missing values among them."""
    codes = {c: pd.factorize(frame[c].fillna(UNKNOWN), sort=True)[0] for c in columns}
    return frame.assign(**codes)


def as_types(frame, categories):
    """A frame whose categories are such for the metrics, also where they are integer codes."""
    return frame.astype(dict.fromkeys(categories, "category"))


def categories_alone(table, codes):
    """The columns of categories, where a missing value is a level like the others."""
    frame = table.frame[table.categories]
    return frame if codes else frame.astype(object).fillna(UNKNOWN)


def split(frame, seed):
    """80 % of the rows for training and 20 % for testing."""
    train, test = train_test_split(frame, test_size=TEST_FRACTION, random_state=seed)
    return train.reset_index(drop=True), test.reset_index(drop=True)


def million(n_rows, codes, seed=0):
    """30 columns: 10 densities, 8 of whole numbers or decimals, 10 categories and 2 of time."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(n_rows, 4))
    columns = {}
    for j in range(10):
        z = hidden @ rng.normal(size=4) + rng.normal(size=n_rows)
        columns[f"density{j}"] = np.exp(z / 3) if j % 3 == 0 else z
    for j in range(4):
        columns[f"count{j}"] = rng.poisson(np.exp(hidden[:, j] / 2 + j))
        zero = hidden[:, j] < -0.5
        columns[f"price{j}"] = np.where(zero, 0.0, np.round(np.exp(hidden[:, j - 1] + 3), 2))
    for j, n_levels in enumerate((2, 2, 3, 5, 8, 12, 20, 50, 200, 1000)):
        place = (hidden[:, j % 4] + rng.normal(size=n_rows)) / 6 + 0.5
        level = np.clip((place * n_levels).astype(int), 0, n_levels - 1)
        columns[f"category{j}"] = (
            level if codes else np.array([f"v{k}" for k in range(1000)])[level]
        )
    for j in range(2):
        days = np.clip(1000 + 300 * hidden[:, j], 0, 2000).astype(int)
        columns[f"day{j}"] = (
            days if codes else pd.Timestamp("2020-01-01") + pd.to_timedelta(days, unit="D")
        )
    return pd.DataFrame(columns)


# ---------------------------------------------------------------- independent marginals


def permuted(train, n_rows, seed):
    """Rows whose columns are drawn independently of each other from the training rows."""
    rng = np.random.default_rng(seed)
    places = [rng.integers(len(train), size=n_rows) for _ in train.columns]
    drawn = [train.iloc[p, j].reset_index(drop=True) for j, p in enumerate(places)]
    return pd.concat(drawn, axis=1)


# ---------------------------------------------------------------- Gaussian copula and mixtures


class NormalScores:
    """Columns made normal one by one by the ranks of their values, ties broken at random.

    Categories are ordered by their frequency. Back, values are those of the training rows.
    """

    def __init__(self, train, categories, rng):
        self.ordered, scores = {}, []
        for name in train:
            key = train[name]
            if name in categories:
                key = key.map(key.value_counts().rank(method="first"))
            order = np.lexsort((rng.random(len(train)), key))
            self.ordered[name] = train[name].iloc[order].reset_index(drop=True)
            ranks = np.empty(len(train))
            ranks[order] = np.arange(len(train))
            scores.append(ndtri((ranks + 0.5) / len(train)))
        self.scores = np.array(scores).T.reshape(len(train), len(scores))

    def frame(self, scores):
        """The frame of scores (n, F)."""
        n = len(self.scores)
        places = np.minimum((ndtr(scores) * n).astype(int), n - 1).T
        columns = zip(self.ordered.items(), places, strict=True)
        return pd.DataFrame({c: v.iloc[p].reset_index(drop=True) for (c, v), p in columns})


def gaussian_copula(train, categories, n_rows, seed):
    """Rows whose normal scores are jointly normal, with the correlations of the training rows."""
    rng = np.random.default_rng(seed)
    normal = NormalScores(train, categories, rng)
    correlations = np.atleast_2d(np.corrcoef(normal.scores.T))
    zero = np.zeros(len(correlations))
    return normal.frame(rng.multivariate_normal(zero, correlations, n_rows, method="eigh"))


def mixture_per_class(train, categories, target, seconds, n_rows, seed):
    """Rows of Gaussian mixtures, one for each class of the target, and numbers of components.

    Numbers enter by their normal scores, categories one-hot; the largest entry is drawn. Sizes and
    covariances are chosen on validation rows, each class in its fraction of the seconds. There is
    one mixture if the target is a number.
    """
    rng = np.random.default_rng(seed)
    classes = train[target] if target in categories else pd.Series("all", index=train.index)
    features = train.drop(columns=target) if target in categories else train
    numbers = NormalScores(features[[c for c in features if c not in categories]], [], rng)
    levels = {c: np.unique(features[c]) for c in features if c in categories}
    one_hot = [features[c].to_numpy()[:, None] == v for c, v in levels.items()]
    Z = np.hstack([numbers.scores, *one_hot]).astype(float)
    counts = classes.value_counts()
    drawn, labels, sizes = [], [], {}
    n_of_class = rng.multinomial(n_rows, counts / len(train))
    for (label, count), n in zip(counts.items(), n_of_class, strict=True):
        rows = rng.permutation(Z[classes == label])
        if count < 3 or n == 0:  # no mixture of so few rows
            drawn.append(rows[rng.integers(count, size=n)])
        else:
            n_held = max(1, int(VALIDATION_FRACTION * count))
            model, chosen = best_gmm(
                rows, rows[n_held:], rows[:n_held], COMPONENTS, ("full", "diag"),
                Clock(seconds * count / len(Z)), seed, reg_covars=(1e-3,),
            )  # fmt: skip
            drawn.append(model.sample(n)[0])
            sizes[str(label)] = chosen["n_components"]
        labels += [label] * n
    drawn, n_numbers = np.vstack(drawn), numbers.scores.shape[1]
    frame = numbers.frame(drawn[:, :n_numbers])
    ends = n_numbers + np.cumsum([len(v) for v in levels.values()])
    for (c, v), end in zip(levels.items(), ends, strict=True):
        frame[c] = v[drawn[:, end - len(v) : end].argmax(axis=1)]
    if target in categories:
        frame[target] = labels
    return frame[list(train)].iloc[rng.permutation(n_rows)].reset_index(drop=True), sizes


# ---------------------------------------------------------------- shallow mixture


class Levels:
    """Columns as levels: categories, frequent numbers, and bins of the others."""

    def __init__(self, train, categories, n_bins=64, frequent=0.01):
        self.train = train
        codes = [self._codes(train[c], c in categories, n_bins, frequent) for c in train]
        self.sizes = [int(c.max()) + 1 for c in codes]
        offsets = np.cumsum([0, *self.sizes])
        self.columns = [slice(a, b) for a, b in zip(offsets[:-1], offsets[1:], strict=True)]
        self.codes = np.stack(codes, 1)
        places = (self.codes + offsets[:-1]).ravel()
        indptr = np.arange(0, self.codes.size + 1, self.codes.shape[1])
        ones = np.ones(len(places), dtype=np.float32)
        shape = (len(train), offsets[-1])
        self.one_hot = sparse.csr_matrix((ones, places, indptr), shape=shape)

    @staticmethod
    def _codes(column, is_category, n_bins, frequent):
        if is_category:
            return pd.factorize(column, use_na_sentinel=False)[0]
        shares = column.value_counts(normalize=True)
        often = column.isin(shares.index[shares > frequent])
        rest = column[column.notna() & ~often]
        edges = (
            np.unique(np.quantile(rest, np.linspace(0, 1, n_bins + 1)[1:-1])) if len(rest) else []
        )
        key = pd.Series(np.digitize(column, edges), index=column.index).astype(object)
        key = key.where(~often, column.astype(object).map(lambda v: ("value", v)))
        return pd.factorize(key.where(column.notna(), "missing"))[0]

    def rows_of(self, codes, rng):
        """Rows with these levels (n, F); of each level a training value is drawn."""
        drawn = {}
        for j, name in enumerate(self.train):
            order = np.argsort(self.codes[:, j], kind="stable")
            counts = np.bincount(self.codes[:, j], minlength=self.sizes[j])
            starts, level = np.cumsum(counts) - counts, codes[:, j]
            place = starts[level] + (rng.random(len(level)) * counts[level]).astype(int)
            drawn[name] = self.train[name].iloc[order[place]].reset_index(drop=True)
        return pd.DataFrame(drawn)


def em(levels, rows, held, n_components, clock, fraction, rng):
    """EM of a mixture of products; returns the best validation score and its parameters."""
    X, Y = levels.one_hot[rows], levels.one_hot[held]
    posterior = rng.dirichlet(np.full(n_components, 0.1), size=len(rows)).astype(np.float32)
    best, idle = (-np.inf, None), 0
    frequencies = np.asarray(X.mean(0)).ravel() + 1e-6
    while True:
        counts = np.asarray(X.T @ posterior).T + 0.5 * frequencies  # (K, levels)
        for column in levels.columns:
            counts[:, column] /= counts[:, column].sum(1, keepdims=True)
        weights = posterior.sum(0) + 0.5
        theta, log_weights = np.log(counts).T, np.log(weights / weights.sum())
        score = logsumexp(Y @ theta + log_weights, axis=1).mean()
        idle = 0 if score > best[0] + LEAST_GAIN else idle + 1
        if score > best[0] or best[1] is None:
            best = (score, (counts, weights / weights.sum()))
        if idle == PATIENCE or not clock.left(fraction):
            return best
        logits = X @ theta + log_weights
        posterior = np.exp(logits - logits.max(1, keepdims=True)).astype(np.float32)
        posterior /= posterior.sum(1, keepdims=True)


def shallow_mixture(train, categories, seconds, n_rows, seed):
    """Rows of a mixture of products of histograms, its size chosen on validation rows."""
    clock, rng = Clock(seconds), np.random.default_rng(seed)
    levels = Levels(train, categories)
    order = rng.permutation(len(train))
    n_held = max(1, int(VALIDATION_FRACTION * len(train)))
    held, rows = order[:n_held], order[n_held:]
    sizes = [k for k in (10, 30, 100, 300, 1000) if k < len(rows) / 3] or [2]
    fits = [
        em(levels, rows, held, k, clock, (i + 1) / len(sizes), rng) for i, k in enumerate(sizes)
    ]
    (_, (theta, weights)) = max(fits, key=lambda fit: fit[0])
    component = rng.choice(len(weights), size=n_rows, p=weights / weights.sum())
    codes = np.empty((n_rows, len(levels.columns)), dtype=int)
    for j, column in enumerate(levels.columns):
        cumulated = np.cumsum(theta[:, column], axis=1)
        u = rng.random(n_rows) * cumulated[component, -1]
        codes[:, j] = (u[:, None] >= cumulated[component]).sum(1).clip(max=levels.sizes[j] - 1)
    return levels.rows_of(codes, rng)


# ---------------------------------------------------------------- Chow-Liu tree


def as_codes(train, test):
    """Codes of two frames of categories, and the number of levels in either of each column."""
    pairs = [pd.factorize(pd.concat([train[c], test[c]])) for c in train]
    codes = np.stack([codes for codes, _ in pairs], 1)
    return codes[: len(train)], codes[len(train) :], [len(levels) for _, levels in pairs]


def mutual_information(codes, sizes):
    """Mutual information of each pair of columns in nats, (F, F)."""
    result = np.zeros((len(sizes), len(sizes)))
    for j in range(len(sizes)):
        for k in range(j):
            p = np.bincount(codes[:, j] * sizes[k] + codes[:, k], minlength=sizes[j] * sizes[k])
            p = p.reshape(sizes[j], sizes[k]) / len(codes)
            independent = p.sum(1, keepdims=True) * p.sum(0)
            seen = p > 0
            result[j, k] = result[k, j] = (p[seen] * np.log(p[seen] / independent[seen])).sum()
    return result


def tree_score(train, test, sizes, alpha):
    """Log-likelihoods of test rows in the tree of largest mutual information.

    Frequencies are smoothed by alpha rows of the distribution one order lower: pairs by the
    marginal, the marginal by equal frequencies.
    """
    # The spanning tree of least weight; zero would be no edge.
    weights = 1e3 - mutual_information(train, sizes)
    np.fill_diagonal(weights, 0)
    order, parents = breadth_first_order(minimum_spanning_tree(weights), 0, directed=False)
    total = np.zeros(len(test))
    for j in order:
        marginal = np.bincount(train[:, j], minlength=sizes[j]) + alpha / sizes[j]
        marginal = marginal / marginal.sum()
        if parents[j] < 0:
            total += np.log(marginal[test[:, j]])
            continue
        parent, n_parent = parents[j], sizes[parents[j]]
        cells = train[:, parent] * sizes[j] + train[:, j]
        counts = np.bincount(cells, minlength=n_parent * sizes[j]).reshape(n_parent, sizes[j])
        table = counts + alpha * marginal
        table = table / table.sum(1, keepdims=True)
        total += np.log(table[test[:, parent], test[:, j]])
    return total


def chow_liu(train, test, seed):
    """Mean log-likelihood of a Chow-Liu tree in nats, its smoothing chosen on validation rows."""
    codes, test_codes, sizes = as_codes(train, test)
    order = np.random.default_rng(seed).permutation(len(codes))
    n_held = max(1, int(VALIDATION_FRACTION * len(codes)))
    held, kept = codes[order[:n_held]], codes[order[n_held:]]
    alphas = (0.1, 0.3, 1.0, 3.0, 10.0)
    best = max(alphas, key=lambda alpha: tree_score(kept, held, sizes, alpha).mean())
    return tree_score(codes, test_codes, sizes, best).mean()
