"""Whether a fit is good: what is measured on test rows, and what it says in plain sentences."""
