"""Netflux channels: the worker exchanges values with a controller in cycles. `shmring` exports the
public names."""
