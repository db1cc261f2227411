"""Sources, codecs, devices, sinks. Knows nothing of packets."""
