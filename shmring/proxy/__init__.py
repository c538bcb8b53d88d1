"""Impaired paths between programs that know nothing of it: UDP proxies."""

from shmring.proxy.timetable import Timetable
from shmring.proxy.words import change, text_of

__all__ = ["Timetable", "change", "text_of"]
