"""The shell around the core: sockets, the network thread, the monotonic clock."""
