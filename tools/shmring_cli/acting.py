"""`shmring end`, `hold`, `release` and `purge`: requests to channels, whoever opened them."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase

from rtworkers import paths
from rtworkers.similar import meant_namespace
from shmring import control
from shmring_cli import options
from shmring_cli.common import FAILED, FINE, describe
from shmring_cli.output import JsonRows

_END = """\
End channels for all processes, whoever opened them, and free their names.

Packets that wait to be sent are dropped, and the command says how many. Every attached
process gets ChannelClosed. The command asks no question.

Use it for a channel whose program has died, or that was opened with other options than
the program now asks for. The channel of a named pool may be ended by the user who
opened it, by the pool's user and by root, that of a private pool by its user and root.

examples:
  shmring end ctl             the channel ctl of your namespace
  shmring end plant/ctl       that of the namespace plant
  shmring end 'axis-*'        every channel whose name matches"""

_HOLD = """\
Halt sending and receiving on channels until `shmring release`.

Packets that wait stay in the queue, and programs may queue more until it is full. Packets
that arrived stay readable. A packet whose deadline passes meanwhile is late when the
channel is released. Any user who may send on the channel may hold it.

examples:
  shmring hold ctl              the channel ctl of your namespace
  shmring hold 'plant/axis-*'   every channel of the namespace plant whose name matches"""

_RELEASE = """\
Let held channels continue: after `shmring hold`, or after they were opened held.

Packets that wait are sent at once if their deadline has passed. To drop them, run
`shmring purge` first. Any user who may send on the channel may release it.

examples:
  shmring release ctl           the channel ctl of your namespace
  shmring release 'axis-*'      every channel whose name matches"""

_PURGE = """\
Drop every packet that waits to be sent on channels, and unread ones that arrived.

The channels stay open, and continue with the next packet. The command says how many
packets were dropped. It asks no question. Any user who may send on the channel may
purge it.

examples:
  shmring purge ctl             the channel ctl of your namespace
  shmring purge plant/ctl       that of the namespace plant"""

_ABOUT = {"end": _END, "hold": _HOLD, "release": _RELEASE, "purge": _PURGE}
ACTIONS: dict[str, Callable[..., control.Outcome]] = {
    "end": control.end,
    "hold": control.hold,
    "release": control.release,
    "purge": control.purge,
}
_WILD = frozenset("*?[")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = _ABOUT[parser.prog.split()[-1]]
    parser.add_argument(
        "channels",
        nargs="+",
        metavar="CHANNEL",
        help="name, NAMESPACE/name, or a pattern such as 'axis-*'",
    )
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    rows = JsonRows(arguments.json)
    results = [
        _act(arguments.command, space, name, rows, json=bool(arguments.json))
        for space, name in _named(arguments.channels, paths.namespace_of(None))
    ]
    rows.end()
    return FINE if all(results) else FAILED


def _named(words: list[str], namespace: str) -> Iterator[tuple[str, str]]:
    """Yield namespace and name of every channel that is asked for, each once."""
    seen: set[tuple[str, str]] = set()
    for word in words:
        space, slash, name = word.rpartition("/")
        for found in _matching(name, space if slash else namespace):
            if found not in seen:
                seen.add(found)
                yield found


def _matching(name: str, namespace: str) -> list[tuple[str, str]]:
    if _WILD.isdisjoint(name):
        return [(namespace, name)]
    there = [str(one.channel) for one in paths.shm_names(namespace) if one.channel is not None]
    found = [(namespace, one) for one in there if fnmatchcase(one, name)]
    if not found:
        raise ValueError(
            f"no channel in namespace {namespace!r} matches {name!r}: see shmring ls"
            + (meant_namespace(namespace) if not there else "")
        )
    return found


def _act(action: str, namespace: str, name: str, rows: JsonRows, *, json: bool) -> bool:
    """Do it to one channel, and say what was done. Return whether it worked."""
    try:
        done = ACTIONS[action](name, namespace=namespace)
    except (OSError, ValueError) as error:
        facts = {"action": action, "namespace": namespace, "name": name, "done": False}
        if json:
            rows.add({**facts, "error": describe(error)})
        else:
            print(f"shmring {action}: {describe(error)}", file=sys.stderr)
        return False
    if json:
        rows.add({**dataclasses.asdict(done), "done": True})
    else:
        print(sentence(done))
    return True


def sentence(done: control.Outcome) -> str:
    """Return what was done, in words."""
    state = {"hold": "held", "release": "open"}.get(done.action)
    channel = f"{done.namespace}/{done.name}"
    if state == done.before.value:
        return f"{channel} was {_PAST[done.action]} already"
    text = f"{_PAST[done.action]} {channel}"
    if done.action in ("end", "purge"):
        text += f": {_packets(done.dropped)} that waited {_were(done.dropped)} dropped"
    else:
        text += f": {_packets(done.waiting)} {'waits' if done.waiting == 1 else 'wait'}"
    if done.left:
        text += f", and {_packets(done.left)} may still be sent: the worker did not answer"
    if done.action == "end" and done.clients:
        text += f", still attached: {_processes(done.clients)}"
    return text


_PAST = {"end": "ended", "hold": "held", "release": "released", "purge": "purged"}


def _packets(count: int) -> str:
    return "1 packet" if count == 1 else f"{count} packets"


def _were(count: int) -> str:
    return "was" if count == 1 else "were"


def _processes(pids: tuple[int, ...]) -> str:
    word = "process" if len(pids) == 1 else "processes"
    return f"{word} {', '.join(map(str, pids))}"


__all__ = ["ACTIONS", "add_arguments", "run", "sentence"]
