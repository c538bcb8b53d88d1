"""Packets with deadlines that leave on a channel per IP version, and what became of them: what
`shmring.replay` and `shmring.generate` share."""
