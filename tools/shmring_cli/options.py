"""Options that several commands have, and the values of options: one word for one thing."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from rtworkers import units

if TYPE_CHECKING:
    from datetime import datetime

T = TypeVar("T")
Read = Callable[[str], Any]

NS_PER_S = 1_000_000_000
PROFILES = ("balanced", "latency", "power")


# --- values ---------------------------------------------------------------------------------------


def reads(read: Callable[[str], T]) -> Callable[[str], T]:
    """Return the type of an option whose values `read` reads. Its `ValueError` is the message."""

    def parse(text: str) -> T:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parse


seconds = reads(units.seconds)
rate = reads(units.rate)
size = reads(units.size)
count = reads(units.count)


def whole(text: str) -> int:
    """Read ``0``, ``1``, ``1000`` or ``10k``."""
    try:
        return 0 if text == "0" else units.count(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no whole number: use 0, 1, 1000 or 10k"
        ) from None


def core(text: str) -> int:
    """Read the number of a core."""
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of a core: use 0, 1 or 3")
    return int(text)


def percent(text: str) -> float:
    """Read ``1%`` or ``0.01`` as percent: 1.0."""
    return 100 * reads(units.share)(text)


def one_of(*names: str) -> Callable[[str], str]:
    """Return the type of an option that is one of these names."""

    def parse(text: str) -> str:
        if text not in names:
            raise argparse.ArgumentTypeError(f"{text!r} is unknown: use {', '.join(names)}")
        return text

    return parse


def limited(
    what: str, least_s: float, most_s: float, *, above: bool = False
) -> Callable[[str], float]:
    """Return the type of a time between two limits. above: the least is not allowed itself."""

    def parse(text: str) -> float:
        value = seconds(text)
        if value < least_s or value > most_s or (above and value == least_s):
            least = f"more than {least_s:g}" if above else f"{least_s:g}"
            raise argparse.ArgumentTypeError(f"{what} is {text}: use {least} to {most_s:g} s")
        return value

    return parse


def start(text: str) -> datetime | int:
    """Read an ISO 8601 time, local without a zone, or ``tai:SECONDS``."""
    from datetime import datetime  # which a command that only looks need not load

    kind, colon, number = text.partition(":")
    try:
        if kind == "tai" and colon:
            whole, _, rest = number.partition(".")
            return int(whole) * NS_PER_S + int(rest[:9].ljust(9, "0"))
        return datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time: use 2026-11-23T08:00:00Z (ISO 8601) or tai:1795420837.5"
        ) from None


# --- options whose value is several words ---------------------------------------------------------


class Word(NamedTuple):
    """A word of an option such as ``--socket ttl=4,broadcast``."""

    to: str
    """The name of the argument that it sets."""
    read: Read | None
    """None: the word has no value."""
    value: Any = True
    """Of a word without a value."""


def words(text: str, known: Mapping[str, Word]) -> dict[str, Any]:
    """Read ``ttl=4,broadcast``: the arguments that it sets. Raises `ArgumentTypeError`."""
    found: dict[str, Any] = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        word = known.get(name)
        if word is None or (word.read is None) == bool(equals):
            shown = ", ".join(
                name if one.read is None else f"{name}=" for name, one in known.items()
            )
            raise argparse.ArgumentTypeError(f"{part!r} is unknown: use {shown}")
        if word.to in found:
            raise argparse.ArgumentTypeError(f"{name} is there twice in {text!r}: give it once")
        try:
            found[word.to] = word.value if word.read is None else word.read(value)
        except (ValueError, argparse.ArgumentTypeError) as error:
            raise argparse.ArgumentTypeError(f"{part!r}: {error}") from None
    return found


class _SetWords(argparse.Action):
    """Sets an argument for each word."""

    def __call__(
        self, parser: object, to: argparse.Namespace, values: Any, _: object = None
    ) -> None:
        for name, value in values.items():
            setattr(to, name, value)


def add_words(
    parser: argparse.ArgumentParser, flag: str, known: Mapping[str, Word], text: str, **unset: Any
) -> None:
    """Add an option whose words set arguments. unset: what these are otherwise."""
    parser.set_defaults(**unset)
    parser.add_argument(
        flag,
        type=lambda given: words(given, known),
        action=_SetWords,
        default=argparse.SUPPRESS,
        metavar="WORDS",
        help=text,
    )


_SOCKET = {
    "interface": (Word("interface", str), None, "interface=eth1"),
    "ttl": (Word("ttl", whole), None, "ttl=4"),
    "dscp": (Word("dscp", whole), None, "dscp=46"),
    "broadcast": (Word("broadcast", None), False, "broadcast"),
    "mss": (Word("mss", whole), 1500, "mss=1400 (largest packet, default 1500)"),
    "no-gso": (Word("gso", None, False), True, "no-gso (a message for each packet, for captures)"),
}


def add_socket(parser: argparse.ArgumentParser, *names: str) -> None:
    """Add --socket with these words and no-gso."""
    chosen = {name: _SOCKET[name] for name in (*names, "no-gso")}
    add_words(
        parser,
        "--socket",
        {name: word for name, (word, _, _) in chosen.items()},
        ", ".join(text for _, _, text in chosen.values()),
        **{word.to: default for word, default, _ in chosen.values()},
    )


def add_worker(parser: argparse.ArgumentParser) -> None:
    """Add --worker: on which core it runs, and how it waits."""
    known = {"cpu": Word("cpu", core), "profile": Word("profile", one_of(*PROFILES))}
    text = "cpu=3, profile=latency (balanced: learn, latency: spin, power: sleep)"
    add_words(parser, "--worker", known, text, cpu=None, profile="balanced")


def add_packet(parser: argparse.ArgumentParser) -> None:
    """Add --packet: what is in generated packets."""
    known = {
        "stamp": Word("stamp", one_of("ntp", "ptp")),
        "padding": Word("padding", one_of("zero", "random")),
    }
    text = "stamp=ptp (timestamps in TAI, default ntp: UTC), padding=random (default zero)"
    add_words(parser, "--packet", known, text, stamp="ntp", padding="zero")


def add_limit(parser: argparse.ArgumentParser, *, late: float, loss: bool = False) -> None:
    """Add --limit. late: the default in percent. loss: also of losses in the network."""
    known = {"late": Word("late_limit", percent)}
    text = f"exit code 3 if more were late here: late=5%% (default {late:g}%%)"
    if loss:
        known["loss"] = Word("loss_limit", percent)
        text += "; 4 if the network lost more: loss=0.1%% (default: no limit)"
    add_words(parser, "--limit", known, text, late_limit=late, loss_limit=None)


# --- other shared options -------------------------------------------------------------------------


class _Placed(argparse.Action):
    """Takes ``NAMESPACE/name`` apart."""

    def __call__(
        self, parser: object, to: argparse.Namespace, values: Any, _: object = None
    ) -> None:
        setattr(to, self.dest, None)
        if values is None:
            return
        space, slash, name = values.rpartition("/")
        if not name or (slash and not space):
            raise argparse.ArgumentError(
                self, f"{values!r} has no name: use NAME or NAMESPACE/NAME"
            )
        if slash and to.namespace not in (None, "*", space):
            raise argparse.ArgumentError(
                self, f"{values!r} is not in namespace {to.namespace!r}: name one namespace"
            )
        setattr(to, self.dest, name)
        if slash:
            to.namespace = space


def add_placed(
    parser: argparse.ArgumentParser, flag: str, metavar: str, text: str, *, nargs: str | None = None
) -> None:
    """Add an option or argument for the name of a pool or channel, which may have its namespace
    before it: it sets `namespace`, too."""
    parser.set_defaults(namespace=None)
    parser.add_argument(flag, action=_Placed, nargs=nargs, metavar=metavar, help=text)


def add_pool(parser: argparse.ArgumentParser) -> None:
    """Add --pool."""
    add_placed(parser, "--pool", "POOL", "use the workers of `shmring up POOL`, or NAMESPACE/POOL")


def add_namespace(parser: argparse.ArgumentParser, default: str) -> None:
    """Add --namespace to a command that lists what is there."""
    parser.add_argument(
        "--namespace", metavar="NS", help=f"only this one, or '*' for all (default: {default})"
    )


def namespace_of(arguments: argparse.Namespace, default: str | None) -> str | None:
    """Return the namespace of --namespace, or the default. None: all of them."""
    given: str | None = arguments.namespace
    return None if given == "*" else given or default


def add_local(parser: argparse.ArgumentParser, read: Read, text: str) -> None:
    """Add --local."""
    parser.add_argument("--local", type=read, metavar="ADDR[:PORT]", help=text)


def add_start(parser: argparse.ArgumentParser) -> None:
    """Add --start."""
    parser.add_argument(
        "--start",
        type=start,
        metavar="TIME",
        help="of the first packet: 2026-11-23T08:00:00Z, or tai:SECONDS of CLOCK_TAI (default now)",
    )


def add_late(parser: argparse.ArgumentParser) -> None:
    """Add --late."""
    parser.add_argument(
        "--late", choices=("send", "drop"), default="send", help="packets past their time"
    )


def add_pps(
    parser: argparse.ArgumentParser, text: str, *, read: Read = rate, default: float | None = None
) -> None:
    """Add --pps."""
    parser.add_argument("--pps", type=read, default=default, metavar="RATE", help=text)


def add_duration(
    parser: argparse.ArgumentParser,
    text: str,
    *,
    read: Read = seconds,
    default: float | None = None,
) -> None:
    """Add --duration: how long the command works."""
    parser.add_argument("--duration", type=read, default=default, metavar="TIME", help=text)


def add_count(parser: argparse.ArgumentParser, text: str, *, default: int | None = None) -> None:
    """Add -n, --count: how many, at most."""
    parser.add_argument("-n", "--count", type=count, default=default, metavar="N", help=text)


def add_interval(
    parser: argparse.ArgumentParser, text: str, *, read: Read, default: float | None = None
) -> None:
    """Add -i, --interval: the time between two looks."""
    parser.add_argument("-i", "--interval", type=read, default=default, metavar="TIME", help=text)


def add_dry_run(parser: argparse.ArgumentParser, text: str) -> None:
    """Add --dry-run."""
    parser.add_argument("--dry-run", action="store_true", help=text)


def add_json(parser: argparse._ActionsContainer, *, lines: str = "") -> None:
    """Add --json: one document. lines: what --json-lines prints an object of, as it comes. The
    argument is None, "document" or "lines"."""
    parser.add_argument(
        "--json", action="store_const", const="document", help="print one JSON document"
    )
    if lines:
        parser.add_argument(
            "--json-lines",
            dest="json",
            action="store_const",
            const="lines",
            help=f"print a JSON object for each {lines}, as it comes",
        )
