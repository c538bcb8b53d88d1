"""Impaired paths between programs that know nothing of it: UDP proxies."""

TYPE_CHECKING = False  # typing.TYPE_CHECKING without typing: type checkers know the name

if TYPE_CHECKING:
    from shmring.proxy.channel import Channel as Channel
    from shmring.proxy.channel import Stats as Stats
    from shmring.proxy.timetable import Timetable as Timetable
    from shmring.proxy.words import change as change
    from shmring.proxy.words import text_of as text_of
else:
    from shmring._faces import face

    __getattr__, __dir__, __all__ = face(
        __name__,
        {
            "shmring.proxy.channel": "Channel Stats",
            "shmring.proxy.timetable": "Timetable",
            "shmring.proxy.words": "change text_of",
        },
    )
