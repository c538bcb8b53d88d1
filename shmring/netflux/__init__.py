"""Netflux channels: the worker exchanges values with a controller in cycles."""

TYPE_CHECKING = False  # typing.TYPE_CHECKING without typing: type checkers know the name

if TYPE_CHECKING:
    from shmring.netflux import records as records
    from shmring.netflux.channel import Channel as Channel
    from shmring.netflux.channel import Settings as Settings
    from shmring.netflux.items import Event as Event
    from shmring.netflux.items import EventKind as EventKind
    from shmring.netflux.items import Item as Item
    from shmring.netflux.items import SentValues as SentValues
    from shmring.netflux.items import Snapshot as Snapshot
    from shmring.netflux.items import Values as Values
    from shmring.netflux.statistics import Link as Link
    from shmring.netflux.statistics import Stats as Stats
else:
    from shmring._faces import face

    __getattr__, __dir__, __all__ = face(
        __name__,
        {
            "shmring.netflux": "records",
            "shmring.netflux.channel": "Channel Settings",
            "shmring.netflux.items": "Event EventKind Item SentValues Snapshot Values",
            "shmring.netflux.statistics": "Link Stats",
        },
    )
