"""Counters, gauges and histograms."""

# Made by csrc/schema.py from csrc/rows: edit those, then run `make schema`.
# ruff: noqa: E501, RUF009

from dataclasses import dataclass

from shmring._facts import fact
from shmring.histogram import Histogram


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class CaptureFates:
    """What became of the packets of a capture file."""

    udp: int = fact("packets", "UDP datagrams")
    not_udp: int = fact("packets", "packets of other protocols than UDP")
    not_ip: int = fact("packets", "packets that are neither IPv4 nor IPv6")
    other_link: int = fact("packets", "packets of a link type that is not supported")
    fragment: int = fact("packets", "fragments of UDP datagrams: they are not sent")
    truncated: int = fact("packets", "UDP datagrams that were captured in part (snaplen): they are not sent")
    malformed: int = fact("packets", "packets whose headers contradict each other or the size limits")
    too_many_flows: int = fact("packets", "datagrams of flows beyond the first 65536: they are not sent")


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class ChannelCounters:
    """Counters of a channel."""

    tx_sent: int = fact("packets", "packets handed to the kernel, or to the readers of a local channel")
    tx_bytes: int = fact("bytes", "payload bytes handed to the kernel")
    tx_calls: int = fact("calls", "send calls")
    tx_immediate: int = fact("packets", "packets sent without a deadline")
    tx_on_time: int = fact("packets", "packets with verdict on_time")
    tx_enqueued_late: int = fact("packets", "packets with verdict enqueued_late")
    tx_woke_late: int = fact("packets", "packets with verdict woke_late")
    tx_send_slow: int = fact("packets", "packets with verdict send_slow")
    tx_queued_behind: int = fact("packets", "packets with verdict queued_behind")
    tx_dropped_late: int = fact("packets", "packets with verdict dropped_late")
    tx_cancelled: int = fact("packets", "packets with verdict cancelled")
    tx_failed: int = fact("packets", "packets with verdict failed")
    tx_producer_halted: int = fact("packets", "packets with verdict producer_halted")
    tx_retries: int = fact("calls", "send calls repeated for lack of room (EAGAIN, ENOBUFS)")
    tx_orphans: int = fact("packets", "packets whose producer died before it finished writing")
    tx_aborted: int = fact("packets", "packets whose producer gave up its claim")
    tx_corrupt: int = fact("packets", "packets refused because their record header was invalid")
    tx_relocated: int = fact("packets", "packets moved inside the ring to free space")
    tx_stamped: int = fact("packets", "packets that got a timestamp from the kernel or the card")
    tx_stamps_lost: int = fact("packets", "packets whose transmit timestamp never arrived")
    rx_received: int = fact("packets", "packets read from the socket, or delivered on a local channel")
    rx_bytes: int = fact("bytes", "payload bytes read from the socket")
    rx_calls: int = fact("calls", "receive calls")
    rx_kernel_drops: int = fact("packets", "packets dropped by the kernel: the socket buffer was full (SO_RXQ_OVFL)")
    rx_overwritten: int = fact("packets", "packets overwritten in the ring before an attached reader took them")
    rx_truncated: int = fact("packets", "packets longer than the ring accepts")
    rx_filtered: int = fact("packets", "packets that are not from the remote of a connected channel")
    rx_errors: int = fact("calls", "receive calls that failed")
    rx_lost_takeover: int = fact("packets", "packets received and then lost because the worker died")
    rx_sockets_reopened: int = fact("sockets", "sockets reopened after a worker died, with loss of the packets in the old one")
    impair_tx_offered: int = fact("packets", "packets offered to the impaired path, sending side")
    impair_tx_lost: int = fact("packets", "packets lost on the impaired path")
    impair_tx_burst_lost: int = fact("packets", "packets lost on the impaired path in bursts")
    impair_tx_duplicated: int = fact("packets", "packets duplicated on the impaired path")
    impair_tx_reordered: int = fact("packets", "packets reordered on the impaired path")
    impair_tx_corrupted: int = fact("packets", "packets corrupted on the impaired path")
    impair_tx_queue_dropped: int = fact("packets", "packets dropped because the queue of the impaired path was full")
    impair_rx_offered: int = fact("packets", "packets offered to the impaired path, receiving side")
    impair_rx_lost: int = fact("packets", "packets lost on the impaired path")
    impair_rx_burst_lost: int = fact("packets", "packets lost on the impaired path in bursts")
    impair_rx_duplicated: int = fact("packets", "packets duplicated on the impaired path")
    impair_rx_reordered: int = fact("packets", "packets reordered on the impaired path")
    impair_rx_corrupted: int = fact("packets", "packets corrupted on the impaired path")
    impair_rx_queue_dropped: int = fact("packets", "packets dropped because the queue of the impaired path was full")
    tx_call_slow: int = fact("packets", "packets with verdict send_slow whose send call began in time, and took too long")


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class ChannelHistograms:
    """Histograms of a channel."""

    lateness: Histogram = fact("ns", "time from the deadline to the start of the send call")
    wire_late: Histogram = fact("ns", "time from the deadline to a later kernel or card timestamp")
    wire_early: Histogram = fact("ns", "time from an earlier kernel or card timestamp to the deadline")
    immediate: Histogram = fact("ns", "time from send to the start of the send call, packets without a deadline")
    send_call: Histogram = fact("ns", "duration of one send call")
    rx_delivery: Histogram = fact("ns", "time from the arrival timestamp to publication in the ring")


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class CyclicNumbers:
    """Counters and gauges of a cyclic channel."""

    sent: int = fact("cycles", "cycles whose payload was handed to the kernel, or to the readers")
    failed: int = fact("cycles", "cycles whose payload the kernel refused, or whose worker died during the send")
    missed: int = fact("cycles", "cycles that passed without a send")
    sent_stale: int = fact("cycles", "cycles sent with a payload that was stale")
    sent_failsafe: int = fact("cycles", "cycles sent with the fail-safe payload")
    updates: int = fact("times", "times the worker took a new payload")
    stale: int = fact("times", "times the payload became stale")
    fresh: bool = fact("flag", "there is a payload, and it is not stale")
    number: int = fact("number", "number of the last cycle: instants since phase_ns of CLOCK_MONOTONIC")
    origin_mono_ns: int = fact("ns", "instant of cycle 0, CLOCK_MONOTONIC")
    updated_mono_ns: int | None = fact("ns", "when the payload in use was written, CLOCK_MONOTONIC", none=0)
    last_sent_mono_ns: int | None = fact("ns", "start of the last send, CLOCK_MONOTONIC", none=0)


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class NetfluxNumbers:
    """Counters and gauges of a Netflux link."""

    sent: int = fact("packets", "packets handed to the kernel")
    send_failed: int = fact("packets", "packets refused by the kernel (no number is used up)")
    skipped: int = fact("instants", "instants of the send grid that passed without a send")
    sent_stale: int = fact("packets", "packets sent with values that were stale")
    sent_failsafe: int = fact("packets", "packets sent with the fail-safe values")
    accepted: int = fact("packets", "packets accepted from the partner")
    rejected_short: int = fact("packets", "packets shorter than the header and the agreed payload")
    rejected_repeated: int = fact("packets", "packets with the number accepted last")
    rejected_old: int = fact("packets", "packets 128 or more numbers ahead: overtaken, or the partner restarted")
    rejected_foreign: int = fact("packets", "packets from an unknown source")
    oversize: int = fact("packets", "accepted packets longer than agreed, whose rest was ignored")
    firsts: int = fact("packets", "accepted packets that were the first, or the first after a timeout")
    partner_lost: int = fact("packets", "packets of the partner missing between two accepted ones")
    acknowledged: int = fact("packets", "packets of ours whose number came back as feedback")
    passed_over: int = fact("packets", "packets of ours covered only by the feedback of a later one")
    ack_lost: int = fact("packets", "packets of ours never covered by feedback")
    timeouts: int = fact("times", "times the watchdog expired")
    unheard: int = fact("times", "times the partner stopped acknowledging our packets")
    stale: int = fact("times", "times the values to send became too old or their owner died")
    alive: bool = fact("flag", "a packet was accepted within the watchdog time")
    heard: bool = fact("flag", "the partner acknowledges our packets")
    fresh: bool = fact("flag", "the values to send are not too old")
    own_number: int = fact("number", "number of the last packet built")
    partner_number: int = fact("number", "number accepted last, which is our feedback")
    received_number: int = fact("number", "number received last, accepted or not")
    feedback_number: int = fact("number", "feedback in the packet accepted last")
    partner_known: bool = fact("flag", "a packet was ever accepted")
    last_sent_mono_ns: int | None = fact("ns", "start of the last send, CLOCK_MONOTONIC", none=0)
    last_accepted_mono_ns: int | None = fact("ns", "arrival of the packet accepted last, CLOCK_MONOTONIC", none=0)
    last_rtt_ns: int | None = fact("ns", "last round-trip time", none=0)


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class NetfluxHistograms:
    """Histograms of a Netflux link."""

    own_interval: Histogram = fact("ns", "time between the starts of two sends of ours")
    partner_interval: Histogram = fact("ns", "time between two sends of the partner, by arrival timestamps, per number")
    gap: Histogram = fact("ns", "time between two accepted packets")
    rtt: Histogram = fact("ns", "time from the start of a send to the arrival of the feedback with its number")


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class ProxyNumbers:
    """Counters and gauges of a proxy."""

    forward_received: int = fact("packets", "datagrams from clients")
    forward_sent: int = fact("packets", "datagrams handed to the kernel towards the server")
    forward_refused: int = fact("packets", "datagrams towards the server that the kernel refused")
    forward_no_flow: int = fact("packets", "datagrams of new clients for which no flow could be opened")
    forward_lost_takeover: int = fact("packets", "datagrams on the forward path when the worker died")
    backward_received: int = fact("packets", "datagrams from the server")
    backward_sent: int = fact("packets", "datagrams handed to the kernel towards clients")
    backward_refused: int = fact("packets", "datagrams towards clients that the kernel refused")
    backward_lost_takeover: int = fact("packets", "datagrams on the backward path when the worker died")
    flows_opened: int = fact("flows", "flows that a client's first datagram opened")
    flows_idle: int = fact("flows", "flows that ended because they were idle")
    flows_lost: int = fact("flows", "flows that ended with the worker that served them")
    unreachable: int = fact("times", "ICMP errors, such as a closed port (several at once count as one)")
    flows_displaced: int = fact("flows", "flows that ended early because a new client needed their place")
    flows: int = fact("flows", "flows that are open")
    forward_waiting: int = fact("packets", "datagrams on the forward path")
    backward_waiting: int = fact("packets", "datagrams on the backward path")
    changes: int = fact("times", "times the impairments were changed")


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class RtpNumbers:
    """Counters and gauges of an RTP channel."""

    sent: int = fact("packets", "media packets sent, retransmissions excluded")
    sent_octets: int = fact("bytes", "payload bytes of the media packets sent")
    spurts: int = fact("spurts", "talk spurts started")
    skipped_times: int = fact("times", "times of the grid that passed without a packet")
    underruns: int = fact("times", "times the send queue was empty when a packet was due, without a pause before")
    filled: int = fact("packets", "packets sent to fill an underrun")
    bad_records: int = fact("records", "invalid records from clients")
    received: int = fact("packets", "packets received with an RTP header")
    malformed: int = fact("packets", "packets received without a valid RTP header")
    unexpected_pt: int = fact("packets", "packets with a payload type that is reserved or belongs to RTCP")
    valid: int = fact("packets", "packets of the stream")
    on_probation: int = fact("packets", "packets of a source that is not validated, or not yet")
    foreign: int = fact("packets", "packets of an unknown source")
    jumps: int = fact("packets", "packets with a large sequence jump that is not confirmed yet")
    restarts: int = fact("times", "times the source restarted at other sequence numbers")
    source_changes: int = fact("times", "times another source took over")
    delivered: int = fact("frames", "frames delivered")
    lost: int = fact("frames", "frames skipped at playout that never arrived")
    late: int = fact("frames", "frames that arrived after they were skipped")
    duplicates: int = fact("frames", "frames that arrived again")
    overflow: int = fact("frames", "frames removed from a full jitter buffer")
    discarded: int = fact("frames", "frames far off in time or number that no frame followed")
    erasures: int = fact("events", "erasures delivered in place of missing frames")
    concealed_ns: int = fact("ns", "media time missing at playout")
    pause_ns: int = fact("ns", "media time in which the sender paused")
    resyncs: int = fact("times", "times the timeline jumped")
    nack_missing: int = fact("packets", "packets that later ones overtook")
    nack_requested: int = fact("packets", "packets requested by NACK, repeated requests included")
    nack_recovered: int = fact("packets", "packets that arrived after a request")
    nack_given_up: int = fact("packets", "packets requested without success")
    nack_heard: int = fact("packets", "packets that receivers requested from us")
    nack_resent: int = fact("packets", "packets sent again on request")
    nack_gone: int = fact("packets", "packets requested from us that are no longer kept")
    rtcp_sent: int = fact("compounds", "RTCP compound packets sent")
    rtcp_received: int = fact("compounds", "valid RTCP compound packets received")
    rtcp_malformed: int = fact("compounds", "malformed RTCP compound packets received")
    rtcp_sr_received: int = fact("packets", "sender reports received")
    rtcp_rr_received: int = fact("packets", "receiver reports received")
    rtcp_bye_received: int = fact("packets", "goodbyes received")
    rtcp_failed: int = fact("compounds", "RTCP compound packets that the kernel did not send")
    ssrc: int = fact("id", "our SSRC")
    next_seq: int = fact("number", "sequence number of the next packet we send")
    next_due_ns: int | None = fact("ns", "due time of the next packet we send, in the channel's clock", none=0)
    queued: int = fact("records", "records waiting to be sent")
    remote_ssrc: int | None = fact("id", "SSRC of the source received", none=-1)
    jitter_units: int = fact("units", "interarrival jitter (RFC 3550) in units of the media clock")
    jitter_ns: int = fact("ns", "interarrival jitter (RFC 3550)")
    delay_ns: int = fact("ns", "delay of the jitter buffer in force, above the fastest frames")
    target_ns: int = fact("ns", "delay that the jitter buffer aims at")
    depth: int = fact("frames", "frames in the jitter buffer")
    skew_ppb: int = fact("ppb", "deviation of the sender's clock from ours, positive if it is slow")
    highest_seq: int = fact("number", "highest extended sequence number received")
    cumulative_lost: int = fact("packets", "packets expected minus packets received (RFC 3550 section 6.4.1)")
    members: int = fact("members", "members of the session, ourselves included")
    senders: int = fact("members", "members of the session that send")
    rtcp_due_ns: int | None = fact("ns", "time of our next RTCP report, CLOCK_MONOTONIC", none=0)
    rtt_ns: int | None = fact("ns", "round-trip time from the last report about us", none=-1)
    reported_fraction_lost: float | None = fact("share", "share of our packets lost, from the last report about us", none=-1, scale=1 / 256)
    reported_lost: int = fact("packets", "our packets lost so far, from the last report about us")
    reported_jitter_units: int = fact("units", "jitter of our packets, from the last report about us")
    reported_highest_seq: int = fact("number", "highest sequence number of ours, from the last report about us")
    report_mono_ns: int | None = fact("ns", "arrival of the last report about us, CLOCK_MONOTONIC", none=0)
    sr_ntp: int | None = fact("ntp", "NTP timestamp (64 bits) of the source's last sender report", none=0)
    sr_rtp_ts: int = fact("units", "RTP timestamp of the source's last sender report")
    sr_mono_ns: int | None = fact("ns", "arrival of the source's last sender report, CLOCK_MONOTONIC", none=0)
    sr_packets: int = fact("packets", "packets sent by the source, from its last sender report")
    sr_octets: int = fact("bytes", "payload bytes sent by the source, from its last sender report")
    bye_mono_ns: int | None = fact("ns", "arrival of the source's goodbye, CLOCK_MONOTONIC", none=0)


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class ReflectorFates:
    """What became of the packets that a STAMP reflector received."""

    answered: int = fact("packets", "requests that were answered")
    too_short: int = fact("packets", "packets with fewer than 41 bytes: their reply would be longer")
    corrupt: int = fact("packets", "packets without an error estimate, or with an impossible time")
    reply: int = fact("packets", "replies, which are never answered: otherwise two reflectors could loop")
    source_port: int = fact("packets", "packets from ports below 1024 other than 862, and from port 0")
    not_allowed: int = fact("packets", "packets from sources outside of the allowed networks")
    held_long: int = fact("packets", "requests that had waited for more than 59 s")
    rate_limited: int = fact("packets", "requests beyond the rate limit")
    no_session: int = fact("packets", "requests of new sessions when the table of sessions was full")


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class ClockCounters:
    """Counters of the comparison with another host's clock."""

    exchanges: int = fact("packets", "replies that were used")
    steps: int = fact("steps", "times the comparison began again, because a clock was stepped")
    malformed: int = fact("packets", "packets that are no STAMP reply")
    unmatched: int = fact("packets", "replies that match no open request: duplicates, late or forged ones")
    impossible: int = fact("packets", "replies whose times contradict each other")


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class UdtNumbers:
    """Counters and gauges of a UDT connection."""

    sent: int = fact("packets", "data packets sent, retransmissions included")
    sent_bytes: int = fact("bytes", "application bytes in new data packets")
    repeated: int = fact("packets", "data packets retransmitted")
    received: int = fact("packets", "data packets received, discarded ones included")
    received_bytes: int = fact("bytes", "application bytes in accepted data packets")
    duplicates: int = fact("packets", "data packets received again, or of a message given up")
    no_room: int = fact("packets", "data packets discarded because the receive buffer was full")
    send_losses: int = fact("packets", "data packets of ours lost, by NAK or timeout")
    receive_losses: int = fact("packets", "data packets found missing between received ones")
    acks_sent: int = fact("packets", "full ACKs sent")
    light_acks_sent: int = fact("packets", "light ACKs sent")
    acks_received: int = fact("packets", "ACKs received that acknowledged new data")
    naks_sent: int = fact("packets", "NAKs sent")
    naks_received: int = fact("packets", "NAKs received")
    keepalives_sent: int = fact("packets", "keepalives sent")
    drops_sent: int = fact("packets", "requests sent to drop a message whose time had passed")
    drops_received: int = fact("packets", "requests received to drop a message")
    timeouts: int = fact("times", "times nothing was heard for the allowed time with data unacknowledged")
    overdue: int = fact("packets", "lost data packets for which neither NAK nor ACK came in time")
    refused_parse: int = fact("packets", "packets that are not UDT packets")
    refused_id: int = fact("packets", "packets for another socket")
    refused_state: int = fact("packets", "packets that do not fit the state of the connection")
    refused_handshake: int = fact("packets", "malformed handshakes")
    refused_data: int = fact("packets", "data packets longer than agreed")
    refused_ack: int = fact("packets", "ACKs of packets that were never sent")
    refused_nak: int = fact("packets", "NAKs of packets that were never sent")
    refused_drop: int = fact("packets", "invalid requests to drop a message")
    refused_ack2: int = fact("packets", "ACK2s for ACKs that were never sent, or sent long ago")
    period_ps: int = fact("ps", "time between the starts of two packets")
    flow_window_packets: int = fact("packets", "packets that the peer has room for")
    cwnd_packets: int = fact("packets", "packets that congestion control lets be unacknowledged")
    flight_packets: int = fact("packets", "packets sent and not acknowledged")
    rtt_us: int = fact("us", "smoothed round-trip time")
    rtt_var_us: int = fact("us", "smoothed deviation of the round-trip time")
    capacity_pps: int = fact("pps", "capacity of the path we send on, as the peer reports")
    delivery_pps: int = fact("pps", "arrival rate at the peer, as the peer reports")
    mss_bytes: int = fact("bytes", "agreed packet size, IP and UDP headers (28) included")
    data_ns: int = fact("ns", "time with data unacknowledged")


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class UdtPortNumbers:
    """Counters of a UDT port."""

    cookies: int = fact("packets", "first requests answered with a cookie")
    requests: int = fact("packets", "requests with a valid cookie")
    accepted: int = fact("connections", "requests that became a connection")
    refused: int = fact("requests", "requests refused by the application or for lack of room")
    forgotten: int = fact("requests", "requests that nobody accepted in time")
    bad_cookie: int = fact("packets", "requests without a valid cookie")
    bad_version: int = fact("packets", "requests of another version or mode, refused")
    bad_values: int = fact("packets", "requests with invalid sizes or ids")
    malformed: int = fact("packets", "packets that are not UDT packets")
    foreign: int = fact("packets", "packets for a socket from an unknown source")
    unknown: int = fact("packets", "packets for a socket that does not exist")
    lost: int = fact("connections", "connections that ended with the worker that served them")
