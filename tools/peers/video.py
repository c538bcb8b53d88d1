"""A stream of video that GStreamer sends, for `shmring bench pacing`."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from shmring_bench import sniffed, veth
from shmring_bench.measure import Figures, Plan, Unavailable
from shmring_bench.pacing import PATIENCE_S, PAYLOAD_BYTES, RTP_BYTES, SECONDS
from shmring_bench.st2110 import Stream, judge

_SIZES = {1920: (1280, 720), 4320: (1920, 1080)}
"""Width and height of the pictures of so many packets."""
_PORT = 9000


def gstreamer(plan: Plan, stream: Stream) -> Figures:
    """GStreamer paces buffers, and all packets of a picture are one buffer. It cuts pictures by
    lines, so they have a few packets more."""
    pictures = max(2, round(plan.run_s(SECONDS) * 1e9 / stream.frame_ns))
    width, height = _SIZES[stream.packets]
    rate = 1_000_000_000 // stream.frame_ns
    with veth.linked(plan) as link, tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "arrivals.pcap"
        with sniffed.tcpdump(link, path, f"udp dst port {_PORT}"):
            link.run(
                *("gst-launch-1.0", "-q", "videotestsrc", "is-live=true"),
                *(f"num-buffers={pictures}", "!"),
                f"video/x-raw,format=UYVY,width={width},height={height},framerate={rate}/1",
                *("!", "rtpvrawpay", f"mtu={RTP_BYTES + PAYLOAD_BYTES}", "!", "udpsink"),
                *(f"host={link.far.address}", f"port={_PORT}", "sync=true"),
                cpu=None,
                timeout_s=PATIENCE_S + pictures / rate,
            )
        times_ns = sniffed.times_ns(path)
    if len(times_ns) < pictures:
        raise Unavailable(f"only {len(times_ns)} packets of GStreamer arrived")
    as_cut = replace(stream, packets=len(times_ns) // pictures)
    seen = judge(as_cut, times_ns[0], enumerate(times_ns))
    return {
        ("c_peak", "packets"): seen.c_peak,
        ("c_over", "percent"): 100 * seen.c_over / len(times_ns),
    }
