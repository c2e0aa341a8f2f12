"""Which parameter to set to what, next."""

import numpy as np


class Advice:
    """Parameters to try, from those of a fit.

    Parameters
    ----------
    estimator : GUDGenerator
    """

    def __init__(self, estimator):
        self._estimator, self._state = estimator, estimator.state_

    def longer(self):
        """Twice as much training."""
        if self._estimator.max_time is not None:
            return f"max_time={2 * self._estimator.max_time:g}"
        return f"max_iter={max(100, 2 * self._state.history.n_epochs)}"

    def shorter(self, n_epochs):
        """Training that ends at a number of epochs; the learning rate falls to zero by then."""
        return f"max_iter={max(1, int(np.ceil(1.2 * n_epochs)))}"

    def regularised(self):
        """More dropout, or more weight decay where the network has no dropout."""
        dropout = getattr(self._state.network, "dropout", None)
        if dropout is None:
            return "weight_decay=0.1"
        dropout = 0.1 if isinstance(dropout, str) else float(dropout)
        return f"network__dropout={min(0.5, max(0.2, 2 * dropout)):g}"

    def wider(self, verdict):
        """What makes distributions wider, by the verdict of the curves."""
        return self.longer() if verdict in ("untrained", "too short") else self.regularised()

    def start(self):
        """Another closed-form model to start from."""
        return "marginal" if self._estimator.preconditioning == "mixture" else "mixture"

    def conditional_rate(self):
        """More partially observed rows."""
        return f"conditional_rate={min(0.8, max(0.3, 2 * self._state.conditional_rate)):g}"

    def closer(self, conditional):
        """What makes distributions narrower: more training, neighbours, more conditions."""
        tried = [self.longer()]
        if not self._estimator.uses_reference_set and not self._state.has_images:
            tried.append("retrieval='auto'")
        if conditional and self._state.conditional_rate < 0.8:
            tried.append(self.conditional_rate())
        return " or ".join(tried)
