"""Testing a network: sending captures and generated packets, measuring paths, comparing clocks.

    report = shmring.net.measure("10.0.0.7")            # `shmring reflect` runs there
    print(report.verdict)

    shmring.net.replay("line.pcapng", to="10.0.0.7")    # as fast as it was captured
    shmring.net.generate("10.0.0.7", seconds=10)        # 1000 packets a second

`probes` measures and answers, `capture` reads and sends captures, `traffic` describes flows, and
`tap` copies the packets of a channel.
"""

TYPE_CHECKING = False  # typing.TYPE_CHECKING without typing: type checkers know the name

if TYPE_CHECKING:
    from shmring.net import capture as capture
    from shmring.net import probes as probes
    from shmring.net import tap as tap
    from shmring.net import traffic as traffic
    from shmring.net.capture.player import replay as replay
    from shmring.net.probes.clock import clock_to as clock_to
    from shmring.net.probes.measuring import measure as measure
    from shmring.net.probes.reflector import reflect as reflect
    from shmring.net.traffic.generator import generate as generate
else:
    from shmring._faces import face

    __getattr__, __dir__, __all__ = face(
        __name__,
        {
            "shmring.net": "capture probes tap traffic",
            "shmring.net.capture.player": "replay",
            "shmring.net.probes.clock": "clock_to",
            "shmring.net.probes.measuring": "measure",
            "shmring.net.probes.reflector": "reflect",
            "shmring.net.traffic.generator": "generate",
        },
    )
