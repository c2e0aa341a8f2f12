"""The mathematics of diffusion: tensors in, tensors out; no random numbers are drawn here."""
