"""Scoring by a user's parameters: checks, conditions and groups of columns."""

import numpy as np

from gudlearn.model.warnings import warn_never_partial


class Scoring:
    """Computes log-likelihoods by a user's parameters, in nats and in the units of the data.

    Parameters
    ----------
    state : ModelState
    fitted : FittedModel
    likelihood : {"bound", "flow"}
    n_draws : int or {"auto", "coarse"}
        Draws of noise for each row, see ``GUDGenerator``.
    """

    def __init__(self, state, fitted, likelihood, n_draws="auto"):
        self.state, self.fitted, self.likelihood = state, fitted, likelihood
        self.n_draws = n_draws

    def rows(self, rows, given=None, excluded=None):
        """Log-likelihood of each of `Rows`, (n,).

        Parameters
        ----------
        rows : Rows
        given : ndarray of shape (F,) of bool, or None
            Columns on which the score of the others is conditioned.
        excluded : LongTensor of shape (n,) or None
            For each row, the key of the reference row that the network must not look up.
        """
        return self.rows_and_errors(rows, given, excluded)[0]

    def rows_and_errors(self, rows, given=None, excluded=None):
        """Log-likelihood of each of `Rows`, and the standard error of it, each (n,).

        The parameters are those of `rows`.
        """
        self._check({"given_columns": given, "NaN in X": self.state.encoding.imputable(rows)})
        return self._log_likelihood(rows, self._given(rows, given), excluded).T

    def blocks(self, blocks, given=None):
        """As `rows_and_errors`, of rows that come in several blocks; ndarray of shape (2, n)."""
        return np.concatenate([self.rows_and_errors(rows, given) for rows in blocks], axis=1)

    def components(self, rows, given=None):
        """ELBO of each row by component, (n, D) or (n, D + F).

        If X has categories or point masses and components are its columns, by column of the user's.
        """
        if self.likelihood == "flow":
            raise ValueError(
                "likelihood='flow' has no split by component: the flow's density is one number a "
                "row. Use likelihood='bound'."
            )
        self._check({"given_columns": given, "NaN in X": self.state.encoding.imputable(rows)})
        by_component = self.fitted.log_likelihood_by_component
        scores = by_component(rows, self._given(rows, given), self.n_draws)
        encoding = self.state.encoding
        if not encoding.masked.any() or (encoding.columns < 0).any():
            return scores
        by_field = np.zeros_like(scores)
        by_field[:, encoding.columns] = scores
        return self.state.container.column_sums(by_field)

    def n_scored(self, rows, given=None):
        """Number of observed values of `Rows` outside the given columns, by column of the user's.

        Parameters
        ----------
        rows : Rows
        given : ndarray of shape (F,) of bool, or None
        """
        observed = np.ones(rows.values.shape, bool) if rows.observed is None else rows.observed
        observed = observed if given is None else observed & ~given
        if not self.state.has_images:
            # A number is missing wherever its gate says that it is something else.
            observed = self.state.container.column_mask_of(observed)
        return int(observed.sum())

    def groups(self, rows, masks, excluded=None):
        """Log-likelihood of each group of columns given all other columns, (n, n_groups).

        Parameters
        ----------
        rows : Rows
        masks : ndarray of shape (n_groups, F) of bool
        excluded : LongTensor of shape (n,) or None
            As in `rows`.
        """
        self._check({"score_columns": ~masks, "NaN in X": self.state.encoding.imputable(rows)})
        scores = np.zeros((len(rows), len(masks)))
        for k, mask in enumerate(masks):
            scores[:, k] = self._log_likelihood(rows, self._given(rows, ~mask), excluded)[:, 0]
        return scores

    def check_rest(self, mask):
        """Raise if rows without the columns of a mask (F,) cannot be scored."""
        self._check({"the rest of a strip": mask})

    def _log_likelihood(self, rows, given, excluded):
        if excluded is not None and len(excluded) != len(rows):
            raise ValueError(
                f"reference has {len(excluded)} rows, but X has {len(rows)}. Pass the training "
                "row of each row of X, or None."
            )
        if self.likelihood == "flow":
            log_prob = self.fitted.flow_log_prob(rows)
            return np.stack([log_prob, np.full_like(log_prob, np.nan)], 1)
        return self.fitted.log_likelihood_and_error(rows, given, excluded, self.n_draws)

    def _given(self, rows, columns):
        if columns is None or not columns.any():
            return None
        return np.broadcast_to(columns, rows.values.shape)

    def _check(self, parts):
        """Raise if partially observed rows cannot be scored; warn if the network never saw any.

        Parts are masks (m, F) or (F,) of given or missing values, or None, by the parameter that
        they come from.
        """
        parts = {k: np.atleast_2d(m) for k, m in parts.items() if m is not None and m.any()}
        masked = self.state.encoding.masked
        if self.likelihood == "flow" and masked.any():
            name = self.state.encoding.bins.names[int(masked.argmax())]
            raise ValueError(
                "likelihood='flow' is the density of numbers, but column "
                f"{name!r} holds categories or point masses, which are masked. Use "
                "likelihood='bound'."
            )
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
