"""Packets with deadlines that leave on a channel per IP version, and what became of them: what
`shmring.net.replay` and `shmring.net.generate` share."""
