"""The engines' parts of a channel: `rtstat.views.ChannelView.part`."""

from __future__ import annotations

from rtstat.numbers import Numbers, name_of
from rtworkers import layout
from shmring.observe.engines import PARTS

UDT_STATES = ("new", *layout.UDT_STATE)


class RtpView(Numbers):
    """The part of an RTP channel, with the names of `shmring.rtp.Stats` and values as in shared
    memory."""

    @property
    def loss(self) -> float | None:
        """Share (0 to 1) of the frames due since the previous snapshot that did not come in time.

        Without a previous snapshot: since the channel was opened.
        """
        lost, late, delivered = (self._recent(name) for name in ("lost", "late", "delivered"))
        expected = lost + late + delivered
        return (lost + late) / expected if expected else None

    def _recent(self, name: str) -> int:
        grown = self.delta(name)
        return self[name] if grown is None else grown

    @property
    def remote_ssrc(self) -> int | None:
        """SSRC of the received source. None: no validated source yet."""
        return self["remote_ssrc"] if self["valid"] and self["remote_ssrc"] >= 0 else None

    @property
    def rtt_ns(self) -> int | None:
        """Round-trip time from RTCP. None: not known."""
        return self["rtt_ns"] if self["rtt_ns"] >= 0 else None

    @property
    def reported_loss(self) -> float | None:
        """Share of our packets that were lost, from the last report about us. None: there
        was none."""
        q8 = self["reported_fraction_lost"]
        return q8 / 256 if q8 >= 0 and self["report_mono_ns"] else None


class UdtView(Numbers):
    """The part of a UDT connection, with the names of `shmring.udt.UdtStats`."""

    @property
    def state(self) -> str:
        """``connecting``, ``connected``, ``closing``, ``broken``, ``closed``, ``lost``."""
        return name_of(UDT_STATES, self["state"])

    @property
    def rtt_ns(self) -> int:
        return self["rtt_us"] * 1000

    @property
    def window_packets(self) -> int:
        """How much may be unacknowledged: the smaller of the peer's room and the
        congestion window."""
        return min(self["flow_window_packets"], self["cwnd_packets"])

    @property
    def pace_pps(self) -> float | None:
        """Packets per second that congestion control allows. None: no limit."""
        return 1e12 / self["period_ps"] if self["period_ps"] > 0 else None

    @property
    def loss(self) -> float | None:
        """Share (0 to 1) of the packets sent since the previous snapshot, or ever, that were
        lost."""
        sent, lost = self.delta("sent"), self.delta("send_losses")
        if sent is None or lost is None:
            sent, lost = self["sent"], self["send_losses"]
        return lost / sent if sent else None


class NetfluxView(Numbers):
    """The part of a Netflux link, with the names of `shmring.netflux.Stats`, cycle and watchdog."""

    @property
    def watch_ns(self) -> int | None:
        """Silence after which the watchdog expires. None: there is no watchdog."""
        return self["watch_ns"] or None

    @property
    def alive(self) -> bool:
        """Whether a datagram was accepted within the watchdog's interval."""
        return self["alive"] != 0

    @property
    def heard(self) -> bool:
        """Whether the partner acknowledges what we send."""
        return self["heard"] != 0

    @property
    def fresh(self) -> bool:
        """Whether the values to send are recent enough."""
        return self["fresh"] != 0

    @property
    def last_rtt_ns(self) -> int | None:
        return self["last_rtt_ns"] or None


_OWN = {kind.__name__: kind for kind in (RtpView, UdtView, NetfluxView)}
ENGINE_VIEWS: dict[str, type[Numbers]] = {
    name: _OWN[row.view] if row.view else Numbers for name, row in PARTS.items()
}
