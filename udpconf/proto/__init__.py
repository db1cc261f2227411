"""The protocol's state machines: no socket, no thread, no clock; now_us is an argument."""
