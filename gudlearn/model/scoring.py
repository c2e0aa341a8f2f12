"""Scores of a fitted model as a user asks for them: what is scored, given what, and checks."""

import numpy as np

from gudlearn.model.warnings import warn_never_partial


class Scoring:
    """Answers requests for log-likelihoods, in nats and in the units of the data.

    Parameters
    ----------
    state : ModelState
    fitted : FittedModel
    likelihood : {"bound", "flow"}
    """

    def __init__(self, state, fitted, likelihood):
        self.state, self.fitted, self.likelihood = state, fitted, likelihood

    def rows(self, rows, given=None, excluded=None):
        """Log-likelihood of each of `Rows`, (n,).

        Parameters
        ----------
        rows : Rows
        given : ndarray of shape (F,) of bool, or None
            Columns that the others are scored given.
        excluded : LongTensor of shape (n,) or None
            Keys of reference rows that the network does not look up.
        """
        self._check({"given_columns": given, "NaN in X": rows.missing})
        return self._log_likelihood(rows, self._given(rows, given), excluded)

    def components(self, rows, given=None):
        """ELBO of each row by component, (n, D) or (n, D + F)."""
        if self.likelihood == "flow":
            raise ValueError(
                "likelihood='flow' has no split by component: the flow's density is one number a "
                "row. Use likelihood='bound'."
            )
        self._check({"given_columns": given, "NaN in X": rows.missing})
        return self.fitted.each_chunk(rows, self.fitted.elbo, self._given(rows, given))

    def groups(self, rows, masks, excluded=None):
        """Log-likelihood of each group of columns given all others, (n, n_groups).

        Parameters
        ----------
        rows : Rows
        masks : ndarray of shape (n_groups, F) of bool
        excluded : LongTensor of shape (n,) or None
        """
        self._check({"score_columns": ~masks, "NaN in X": rows.missing})
        found = np.zeros((len(rows), len(masks)))
        for k, mask in enumerate(masks):
            found[:, k] = self._log_likelihood(rows, self._given(rows, ~mask), excluded)
        return found

    def check_rest(self, mask):
        """Raise where rows cannot be scored of which the columns of a mask (F,) are missing."""
        self._check({"the rest of a strip": mask})

    def _log_likelihood(self, rows, given, excluded):
        if self.likelihood == "flow":
            return self.fitted.flow_log_prob(rows)
        return self.fitted.log_likelihood(rows, given, excluded)

    def _given(self, rows, columns):
        if columns is None or not columns.any():
            return None
        return np.broadcast_to(columns, rows.values.shape)

    def _check(self, parts):
        """Raise where a part cannot be scored; warn where the network never saw parts.

        Parts are masks (m, F) or (F,), or None, by the name of what makes them.
        """
        parts = {k: np.atleast_2d(m) for k, m in parts.items() if m is not None and m.any()}
        if parts and self.likelihood == "flow":
            raise ValueError(
                f"likelihood='flow' scores whole rows only, but there is {' and '.join(parts)}. "
                "Use likelihood='bound'."
            )
        for name, mask in parts.items():
            if self.state.encoding.splits_block(mask):
                raise ValueError(
                    f"{name} parts columns that basis={self.state.encoding.basis!r} mixes: no "
                    "component is observed or missing with them. Fit with basis='identity', or a "
                    "BlockBasis whose blocks are not parted."
                )
        if parts:
            warn_never_partial(self.state, "the bound of a part is loose")
