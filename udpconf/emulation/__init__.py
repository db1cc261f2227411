"""A sans-IO emulator of bad links; it knows nothing of the rest, so that it can judge it."""
