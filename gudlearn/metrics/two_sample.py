r"""Two-sample test by a classifier: can trees tell fake rows from real ones?"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import rankdata
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import StratifiedKFold

from gudlearn._typing import RandomState
from gudlearn.metrics.mixed import (
    check_whole,
    generator_of,
    read_tables,
    rows_text,
    rows_used,
    tree_features,
)
from gudlearn.metrics.utility import smallest_leaf

__all__ = ["TwoSampleAUC", "two_sample_auc"]


@dataclass(frozen=True, repr=False)
class TwoSampleAUC:
    """Results of :func:`two_sample_auc`.

    Parameters
    ----------
    auc : float
        Probability that the classifier finds a fake row more likely to be fake than a real row.
        0.5: it cannot tell them apart; 1: it always can.
    standard_error : float
        Of ``auc``, rather too large than too small.
    importance : pandas.Series or None
        For each column, how much the AUC falls when the values of this column are shuffled among
        the rows; largest first. Columns that say the same can replace each other and then look
        less important than they are.
    n_used, n_rows : dict of str to int
        Numbers of rows that were used and passed, for ``real`` and ``fake``.
    """

    auc: float
    standard_error: float
    importance: pd.Series | None
    n_used: dict
    n_rows: dict

    def __repr__(self):
        lines = [
            f"TwoSampleAUC: {self.auc:.4f} ± {self.standard_error:.4f} "
            f"({rows_text(self.n_used, self.n_rows)})"
        ]
        if self.importance is not None:
            worst = self.importance.head(5).items()
            lines.append("  " + ", ".join(f"{name}: {fall:.4f}" for name, fall in worst))
        return "\n".join(lines)


def two_sample_auc(
    real: ArrayLike, fake: ArrayLike, *, n_folds: int = 5, importance: bool = False,
    max_rows: int = 100_000, random_state: RandomState = 0,
) -> TwoSampleAUC:  # fmt: skip
    r"""AUC of a classifier between real and fake rows (classifier two-sample test, C2ST).

    Scikit-learn's ``HistGradientBoostingClassifier``, with its default parameters (but for smaller
    leaves below 80 rows) and with native categories and missing values, is trained on all folds but
    one and judged on that one. The AUC is the mean over folds. Its standard error is that of DeLong
    et al., from the rows of all folds, times the root of 2, because classifiers that are trained on
    each other's test rows err together (1.3 was measured between equal distributions).

    Compare values for equal numbers of rows only: a classifier that learns from more rows tells
    more. Take real rows that the model was not trained on, since a model that copies training rows
    is not told from these. Rows that are in both samples make the AUC smaller than 0.5, because
    the classifier learns each with the wrong label.

    Parameters
    ----------
    real, fake : pandas, polars or pyarrow table, or array-like of shape (n, F)
        Numbers, datetimes, text, categories and booleans, with missing values in any of them.
        Columns are matched by name. Of a category with more than 255 levels the rare ones count as
        one.
    n_folds : int, default=5
        At least 2, and at most the number of rows of each sample.
    importance : bool, default=False
        Whether to measure the importance of each column.
    max_rows : int or None, default=100000
        At most this many rows of each sample are used, drawn at random.
    random_state : int, RandomState, Generator or None, default=0
        Draws the rows, the folds, and seeds the classifiers.

    Returns
    -------
    TwoSampleAUC

    Raises
    ------
    ValueError
        If the columns differ, a sample has fewer rows than folds, or a number is infinite.
    TypeError
        If values of a column cannot be compared.

    References
    ----------
    Lopez-Paz, Oquab (2017), https://arxiv.org/abs/1610.06545;
    DeLong, DeLong, Clarke-Pearson (1988), Biometrics 44

    Examples
    --------
    >>> import pandas as pd, numpy as np
    >>> from gudlearn.metrics import two_sample_auc
    >>> rng = np.random.default_rng(0)
    >>> def rows(n, p):
    ...     return pd.DataFrame({"x": rng.normal(size=n), "word": rng.choice(["a", "b"], n, p=p)})
    >>> two_sample_auc(rows(500, [0.5, 0.5]), rows(500, [0.9, 0.1])).auc > 0.6
    True
    """
    check_whole("n_folds", n_folds, 2)
    rng = generator_of(random_state)
    tables = read_tables(max_rows, rng, real=real, fake=fake)
    for name, table in zip(("real", "fake"), tables, strict=True):
        if len(table) < n_folds:
            raise ValueError(
                f"{name} has {len(table)} rows, fewer than n_folds={n_folds}. Pass more rows or "
                "choose fewer folds."
            )
    parts, is_category = tree_features(*tables)
    X, y = np.vstack([_sorted_rows(part) for part in parts]), np.repeat([0, 1], [*map(len, parts)])
    varies = np.array([len(np.unique(column)) > 1 for column in X.T])
    folds = list(StratifiedKFold(n_folds, shuffle=True, random_state=_seed(rng)).split(X, y))
    falls = pd.Series(0.0, index=pd.Index(tables[0].names, tupleize_cols=False))
    if varies.any():
        kept = X[:, varies]
        aucs, places, lost = _cross_fit(kept, y, is_category[varies], folds, importance, rng)
        falls[varies] = lost
    else:  # nothing to learn from
        aucs, places = np.full(n_folds, 0.5), np.full(len(y), 0.5)
    return TwoSampleAUC(
        auc=float(np.mean(aucs)),
        standard_error=_standard_error(places, y),
        importance=falls.sort_values(ascending=False, kind="stable") if importance else None,
        **rows_used(real=tables[0], fake=tables[1]),
    )


def _seed(rng):
    """A seed that scikit-learn takes."""
    return int(rng.integers(2**31))


def _sorted_rows(X):
    """Rows in lexicographic order: results then do not depend on the order of the rows."""
    return X[np.lexsort(X.T[::-1])]


def _cross_fit(X, y, is_category, folds, importance, rng):
    """AUC of each fold, place of each row among those of the other sample, falls of the AUC."""
    aucs, places, falls = [], np.empty(len(y)), np.zeros(X.shape[1])
    for train, test in folds:
        classifier = HistGradientBoostingClassifier(
            categorical_features=is_category, random_state=_seed(rng),
            min_samples_leaf=smallest_leaf(len(train)),
        )  # fmt: skip
        classifier.fit(X[train], y[train])
        auc, places[test] = _auc_and_places(classifier.decision_function(X[test]), y[test])
        aucs.append(auc)
        for j in range(X.shape[1]) if importance else ():
            shuffled = X[test]
            shuffled[:, j] = rng.permutation(shuffled[:, j])
            without, _ = _auc_and_places(classifier.decision_function(shuffled), y[test])
            falls[j] += (auc - without) / len(folds)
    return aucs, places, falls


def _auc_and_places(scores, y):
    """AUC, and for each row the fraction of rows of the other sample that it is placed right of.

    Fake rows (y = 1) should have larger scores. The mean place is the AUC for both samples.
    """
    ranks, places = rankdata(scores), np.empty(len(y))
    for label, sign in ((0, -1), (1, 1)):
        own = y == label
        below = (ranks[own] - rankdata(scores[own])) / (~own).sum()
        places[own] = below if sign == 1 else 1 - below
    return places[y == 1].mean(), places


def _standard_error(places, y):
    """Standard error of the AUC from the places of all rows."""
    variances = [places[y == label].var(ddof=1) / (y == label).sum() for label in (0, 1)]
    # What sets fold f apart from fold g by chance enters twice, once with f as the test rows and
    # once with g: where there is nothing else to learn the variance is up to twice DeLong's.
    return float(np.sqrt(2 * sum(variances)))
