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
    classes : LatentClasses or None
        A mixture that the categories start from; None: they start independent.
    """

    def __init__(
        self, levels, log_pmf, masked_above, gates, numbers, hidden_gamma, classes=None
    ):  # fmt: skip
        self.classes = classes
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
            None if self.classes is None else self.classes.to(device, dtype),
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

    def start(self, numbers, gamma, one_hot):
        """Log-probabilities of all levels (B, L) before training, given a split state."""
        if self.classes is None:
            return self.log_pmf.expand_as(one_hot)
        return self.classes.log_prob(numbers, gamma, one_hot)

    def change(self, start, logits):
        """How logits (B, L) of a network change log-probabilities ``start`` (B, L)."""
        return self.levels.log_softmax(start + logits) - start
