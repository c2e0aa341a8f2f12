"""What the user passed, and the way back to it."""
