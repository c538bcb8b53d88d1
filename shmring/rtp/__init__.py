"""RTP channels: frames handed over in Python, packets on the grid of the media clock on the wire,
and frames in time on the other side. What users need of it is in `shmring` itself."""
