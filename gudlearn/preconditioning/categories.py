"""Categories in closed form: the frequencies of their levels, and what their gates hide."""

import torch


class CategoryMarginals:
    """Independent categories, the last components of a state.

    Parameters
    ----------
    levels : Levels
    log_pmf : Tensor of shape (L,)
        Log-frequencies of all levels, column by column.
    masked_above : Tensor of shape (C,)
        Noise levels above which a category is masked.
    gates, numbers : LongTensor of shape (G,)
        Category and numeric component of each column of two natures, see
        `gudlearn.diffusion.gates`. The number exists where the gate has its last level.
    hidden_gamma : Tensor of shape (G,)
        Noise level of numbers that are hidden: that of missing components.
    """

    def __init__(self, levels, log_pmf, masked_above, gates, numbers, hidden_gamma):
        self.levels, self.log_pmf, self.masked_above = levels, log_pmf, masked_above
        self.gates, self.numbers, self.hidden_gamma = gates, numbers, hidden_gamma
        sizes = torch.tensor(levels.sizes, device=log_pmf.device)
        self._last = sizes[gates] - 1

    def to(self, device=None, dtype=None):
        """Return a copy on a device and with a dtype."""
        tensors = self.log_pmf, self.masked_above, self.hidden_gamma
        log_pmf, masked_above, hidden = (tensor.to(device, dtype) for tensor in tensors)
        return CategoryMarginals(
            self.levels.to(device, dtype), log_pmf, masked_above, self.gates.to(device),
            self.numbers.to(device), hidden,
        )  # fmt: skip

    def split_state(self, x, gamma):
        """Split a state into numbers and indicators of the observed levels.

        Numbers whose gate is masked, or says that there is none, get the noise level of missing
        components.

        Parameters
        ----------
        x, gamma : Tensor of shape (B, D)

        Returns
        -------
        x, gamma : Tensor of shape (B, D')
        one_hot : Tensor of shape (B, L)
        """
        n = self.levels.n_columns
        codes, masked = x[:, -n:], gamma[:, -n:] > self.masked_above
        numbers, gamma = x[:, :-n], gamma[:, :-n]
        if len(self.gates):
            hidden = masked[:, self.gates] | (codes[:, self.gates] != self._last)
            shown = torch.where(hidden, self.hidden_gamma, gamma[:, self.numbers])
            gamma = gamma.index_copy(1, self.numbers, shown)
        return numbers, gamma, self.levels.one_hot(codes, masked)

    def update(self, logits):
        """Log-frequencies (B, L), and how logits (B, L) of a network change them."""
        log_pmf = self.log_pmf.expand_as(logits)
        return log_pmf, self.levels.log_softmax(log_pmf + logits) - log_pmf
