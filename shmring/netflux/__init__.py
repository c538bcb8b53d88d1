"""Netflux channels: values exchanged with a controller in cycles, which the worker keeps. What
users need of it is in `shmring` itself."""
