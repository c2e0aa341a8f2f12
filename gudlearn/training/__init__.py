"""How a denoiser is fitted."""
