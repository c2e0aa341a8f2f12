"""The denoiser in closed form, before anything is trained: marginals, joint Gaussian, clusters."""
