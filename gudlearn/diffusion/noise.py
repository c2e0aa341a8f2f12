r"""Noise levels: what a value of gamma says about signal and noise.

.. math:: \gamma = \log(\sigma^2/\alpha^2), \qquad \alpha^2 + \sigma^2 = 1

so that :math:`\alpha^2 = \mathrm{sigmoid}(-\gamma)` and
:math:`\sigma^2 = \mathrm{sigmoid}(\gamma)`.
gamma is the negative log-SNR of the kernel: it grows from data to noise.
"""

import torch


def alpha(gamma):
    """Scale of the signal, sqrt(sigmoid(-gamma)); a tensor of gamma's shape."""
    return torch.sigmoid(-gamma).sqrt()


def sigma(gamma):
    """Scale of the noise, sqrt(sigmoid(gamma)); a tensor of gamma's shape."""
    return torch.sigmoid(gamma).sqrt()


def snr(gamma):
    """Signal-to-noise ratio alpha^2/sigma^2 = exp(-gamma); a tensor of gamma's shape."""
    return torch.exp(-gamma)
