r"""Noise levels: the scales of signal and noise at a value of gamma.

.. math:: \gamma = \log(\sigma^2/\alpha^2), \qquad \alpha^2 + \sigma^2 = 1

so that :math:`\alpha^2 = \mathrm{sigmoid}(-\gamma)` and
:math:`\sigma^2 = \mathrm{sigmoid}(\gamma)`.
gamma is the negative log-SNR of the noising kernel: it increases from data to noise.
"""

import torch


def alpha(gamma):
    """Return the scale of the signal, sqrt(sigmoid(-gamma)); a tensor of gamma's shape."""
    return torch.sigmoid(-gamma).sqrt()


def sigma(gamma):
    """Return the scale of the noise, sqrt(sigmoid(gamma)); a tensor of gamma's shape."""
    return torch.sigmoid(gamma).sqrt()


def snr(gamma):
    """Return the signal-to-noise ratio alpha^2/sigma^2 = exp(-gamma); a tensor of gamma's shape."""
    return torch.exp(-gamma)
