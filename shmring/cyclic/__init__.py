"""Cyclic channels: the worker sends the newest payload in every cycle. Ticks of a grid."""

TYPE_CHECKING = False  # typing.TYPE_CHECKING without typing: type checkers know the name

if TYPE_CHECKING:
    from shmring.cyclic.channel import Channel as Channel
    from shmring.cyclic.channel import Stats as Stats
    from shmring.cyclic.ticks import Tick as Tick
    from shmring.cyclic.ticks import Ticks as Ticks
else:
    from shmring._faces import face

    __getattr__, __dir__, __all__ = face(
        __name__,
        {
            "shmring.cyclic.channel": "Channel Stats",
            "shmring.cyclic.ticks": "Tick Ticks",
        },
    )
