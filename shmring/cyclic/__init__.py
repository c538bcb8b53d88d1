"""Cyclic channels: the worker sends the newest payload in every cycle. `shmring` exports the public
names."""
