"""Rows to components and back, with the change of the log-likelihood in nats."""
