"""Optimisers: AdamW, and Muon for hidden matrices."""

import torch


def make_optimizers(denoiser, parameters, name, learning_rate, weight_decay):
    """AdamW, and with the name "muon" also Muon for the hidden matrices of the network.

    Returns
    -------
    list of torch.optim.Optimizer
    """
    hidden = getattr(denoiser.network, "hidden_matrices", list)() if name == "muon" else []
    ids = {id(p) for p in hidden}
    rest = [p for p in parameters if id(p) not in ids]
    optimizers = [
        torch.optim.AdamW(
            rest,
            lr=learning_rate,
            betas=(0.9, 0.98),
            weight_decay=weight_decay,
            fused=True,
        )
    ]
    if hidden:
        optimizers.append(
            torch.optim.Muon(
                hidden,
                lr=2.5 * learning_rate,
                weight_decay=weight_decay,
                adjust_lr_fn="match_rms_adamw",
            )
        )
    return optimizers
