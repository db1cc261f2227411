"""udpconf: live video and sound over plain UDP that keeps its latency when the network loses packets."""

__version__ = "0.1.0"
