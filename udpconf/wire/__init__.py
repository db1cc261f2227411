"""Bytes to typed values and back: pure functions, no state, no time, no I/O."""
