"""Where and in which arithmetic to compute."""

import torch


def resolve_device(name):
    """A torch.device from what the user passed.

    Raises
    ------
    ValueError
        If torch cannot use it here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        # Torch may know a device that this machine or this build of torch does not have.
        usable = device.type != "meta"
        # Scores are sums in float64, which not every kind of device has.
        torch.empty(0, device=device, dtype=torch.float64)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ValueError(
            f"device={name!r} is not a device that torch can use here: {error}. Pass 'auto', "
            "'cpu' or 'cuda'."
        ) from error
    if not usable:
        raise ValueError("device='meta' holds no numbers. Pass 'auto', 'cpu' or 'cuda'.")
    return device


def autocast_type(precision, device):
    """Dtype of the hidden layers' arithmetic in training; None for float32."""
    if precision in ("float32", "fp32"):
        return None
    if precision in ("bfloat16", "bf16"):
        return torch.bfloat16
    if device.type == "cuda":
        # Older cards emulate it, slowly.
        with torch.cuda.device(device):
            fast = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if fast else None
    fast = device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if fast else None


def sees_images(denoiser):
    """Whether the network of a denoiser works on images; False if there is no denoiser."""
    return denoiser is not None and getattr(denoiser.network, "sees_images", False)


def to_arrays(state):
    """Copy a state dict of tensors into a dict of NumPy arrays."""
    return {k: v.detach().cpu().numpy().copy() for k, v in state.items()}
