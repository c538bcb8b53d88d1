"""README and docs/: what they show runs, what they name exists, and what exists they name."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import importlib.resources
import inspect
import os
import re
import shlex
import shutil
import struct
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import needs
import pytest
from kit.sources import CHECKOUT, checkout
from kit.wire import free_port
from stamp_reflector import reflecting

import rtstat.cli
import rtstat.overview
import shmring
import shmring_cli
import shmring_doctor as doctor
from rtstat.metric_table import FAMILIES
from shmring import recording, udt
from shmring.engine import OpenOptions
from shmring.netflux import records
from shmring.observe.reading import ReaderInfo
from shmring.rtp.records import BlockOptions, FrameOptions
from shmring.stats import FIELDS
from shmring.testing import captures
from shmring.testing.plc import Codesys5
from shmring_cli import COMMANDS
from shmring_cli.common import EXIT_CODES
from shmring_cli.help import pages as pages_of_help

pytest_plugins = ["pytester"]

# What the worker, the kernel and a loaded machine may take; only what never happens must fail.
PATIENCE_S = 60


pytestmark = pytest.mark.skipif(CHECKOUT is None, reason="no documentation around these tests")


class Block(NamedTuple):
    """A fenced block of Python. `mark` is the word behind ```python: "", "no-run", "pytest" (its
    tests run) or one of `NEEDS`."""

    place: str
    mark: str
    code: str


def text_of(name: str) -> str:
    assert CHECKOUT is not None
    return (CHECKOUT / name).read_text(encoding="utf-8")


def blocks(*names: str) -> list[Block]:
    found = []
    for name in names if CHECKOUT else ():
        text = text_of(name)
        for match in re.finditer(r"^( *)```python *(\S*)\n(.*?)^\1```$", text, re.M | re.S):
            line = text.count("\n", 0, match.start()) + 1
            found.append(Block(f"{name}:{line}", match[2], textwrap.dedent(match[3])))
    return found


def code(text: str) -> str:
    """Only what stands in backticks or in blocks."""
    return "\n".join(re.findall(r"```.*?```|`[^`\n]+`", text, re.S))


def rows(text: str, heading: str) -> list[list[str]]:
    """Cells of the first table below a heading, its own heading left out."""
    below = text.split(f"{heading}\n", 1)[1]
    lines = re.search(r"(?:^\|.*\n)+", below, re.M)
    assert lines, f"no table below {heading!r}"
    cells = [line.strip("|").split("|") for line in lines[0].splitlines()[2:]]
    return [[cell.strip() for cell in row] for row in cells]


def pages_of_docs() -> list[str]:
    if CHECKOUT is None:
        return []
    return sorted(path.relative_to(CHECKOUT).as_posix() for path in CHECKOUT.glob("docs/**/*.md"))


@pytest.fixture(scope="module")
def docs() -> str:
    """All pages of docs/, one behind the other."""
    return "\n".join(map(text_of, pages_of_docs()))


# --- what they show runs --------------------------------------------------------------------------


def ids(block: Block) -> str:
    return block.place


ROOMS = (shmring, shmring.rtp, shmring.netflux, shmring.cyclic, shmring.proxy, shmring.observe, udt)
NOT_DOCUMENTED = {"Item", "records"}
PAGES_OF_TESTS = ("docs/howto/testing.md", "docs/howto/netflux-testing.md")  # pytest runs them
PARITY = ("api/netflux/PARITY.md", "api/rtpsynth/README.md")
PAGES_THAT_RUN = {"README.md", *PARITY, *pages_of_docs()} - {*PAGES_OF_TESTS}
ALL_BLOCKS = blocks(*sorted(PAGES_THAT_RUN))
TESTS = [*blocks(*PAGES_OF_TESTS), *(block for block in ALL_BLOCKS if block.mark == "pytest")]
RUNNABLE = [
    block if block.place.startswith("README.md:") else pytest.param(block, marks=pytest.mark.check)
    for block in ALL_BLOCKS
    if block.mark not in ("no-run", "pytest")
]


@contextlib.contextmanager
def open_ctl(_folder: Path) -> Iterator[None]:
    with shmring.Pool(policy="other") as pool:
        here = ("127.0.0.1", free_port())
        pool.open("ctl", local=here, remote=here)
        yield


@contextlib.contextmanager
def run_plant(_folder: Path) -> Iterator[None]:
    with shmring.Pool("plant", policy="other") as pool:
        yield
        pool.close(linger=0)  # a page may leave seconds of packets behind


@contextlib.contextmanager
def run_axis(folder: Path) -> Iterator[None]:
    """A channel on the pool `plant`, which sends to itself all the time."""
    with run_plant(folder), ThreadPoolExecutor(1) as thread:
        here, ended = ("127.0.0.1", free_port()), threading.Event()

        def sender() -> None:
            while not ended.wait(0.01):
                ch.send(b"set-point", at=ch.now_ns() + 1_000_000)

        with shmring.open("axis", pool="plant", local=here, remote=here) as ch:
            sending = thread.submit(sender)
            yield
            ended.set()
            sending.result()


@contextlib.contextmanager
def record_a_night(folder: Path) -> Iterator[None]:
    assert CHECKOUT is not None
    shutil.copy(CHECKOUT / "docs" / "pictures" / "fifo.csv", folder / "night.csv")
    yield


@contextlib.contextmanager
def capture_a_line(folder: Path) -> Iterator[None]:
    file = captures.Pcapng()
    file.interface(resolution=9)
    for i in range(20):
        file.packet(i * 1_000_000, captures.udp(b"packet %d" % i, to=("239.0.0.1", 5004)))
    (folder / "line.pcapng").write_bytes(file.data)
    yield


@contextlib.contextmanager
def reflect(_folder: Path) -> Iterator[None]:
    with reflecting(port=8620):
        yield


NEEDS = {
    "": lambda _folder: contextlib.nullcontext(),
    "needs-ctl": open_ctl,
    "needs-axis": run_axis,
    "needs-plant": run_plant,
    "needs-recordings": record_a_night,
    "needs-capture": capture_a_line,
    "needs-reflector": reflect,
    "needs-tai": lambda _folder: contextlib.nullcontext(),
}


def test_nothing_is_shown_that_does_not_run() -> None:
    """Except the three files of one example, which run together below."""
    exempt = {block.place.partition(":")[0] for block in ALL_BLOCKS if block.mark == "no-run"}
    assert exempt <= {"docs/reference/netflux.md"}


@pytest.mark.parametrize("block", RUNNABLE, ids=ids)
def test_examples_run(block: Block, shmring_namespace: str, tmp_path: Path) -> None:
    script = tmp_path / "example.py"
    ports: dict[str, int] = {}
    code = re.sub(r"\b900[01]\b", lambda _: str(ports.setdefault(_[0], free_port())), block.code)
    if block.mark == "needs-tai" and abs(time.clock_gettime(time.CLOCK_TAI) - time.time()) < 1:
        code = code.replace('"tai"', '"monotonic"')  # the kernel was not told the offset
    script.write_text(code, encoding="utf-8")
    with NEEDS[block.mark](tmp_path):
        run_example(script)


def run_example(script: Path) -> None:
    """As a user runs it: it asks for real-time priority, which this machine may not give it."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-W", "ignore::RuntimeWarning", str(script)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        cwd=script.parent,
        env={name: value for name, value in os.environ.items() if name != "SHMRING_POLICY"},
    )
    assert (done.returncode, done.stderr) == (0, ""), script.read_text(encoding="utf-8")


@pytest.mark.check
@pytest.mark.parametrize("block", TESTS, ids=ids)
def test_examples_of_tests_pass(block: Block, pytester: pytest.Pytester) -> None:
    if "shmring_netns" in block.code:
        needs.require("netns")
    pytester.makepyfile(block.code)
    outcomes = pytester.runpytest_subprocess("-p", "no:cacheprovider").parseoutcomes()
    assert set(outcomes) == {"passed"}


# --- what exists they name ------------------------------------------------------------------------

EXCEPTIONS = [
    name
    for name, kind in vars(shmring.errors).items()
    if isinstance(kind, type) and issubclass(kind, Exception)
]
PUBLIC_METHODS = [name for name in dir(shmring.Channel) if not name.startswith("_")]


def unnamed(names: list[str], text: str) -> list[str]:
    """Names that stand nowhere in the code of a text."""
    assert names
    shown = code(text)
    return [name for name in names if not re.search(rf"(?<!\w){re.escape(name)}(?!\w)", shown)]


@pytest.mark.parametrize(
    ("what", "names"),
    [
        ("options", sorted(OpenOptions.__optional_keys__)),
        ("arguments of Pool", list(inspect.signature(shmring.Pool).parameters)),
        ("exceptions", EXCEPTIONS),
        ("verdicts", [str(item) for item in shmring.Verdict]),
        ("stamps", [str(item) for item in shmring.types.Stamp]),
        ("states", [str(item) for item in shmring.State]),
        ("impairments", [field.name for field in dataclasses.fields(shmring.Impairment)]),
        ("statistics", list(FIELDS)),
        ("reader facts", [field.name for field in dataclasses.fields(ReaderInfo)]),
        ("worker facts", [field.name for field in dataclasses.fields(shmring.observe.WorkerInfo)]),
        ("packet facts", [name for name in dir(shmring.Packet) if not name.startswith("_")]),
        ("report facts", [*shmring.SendReport._fields, "late_ns", "wire_error_ns"]),
        ("public names", [name for name in shmring.__all__ if name.islower()]),
        ("calls of a channel", PUBLIC_METHODS),
        ("commands", [f"shmring {command.name}" for command in COMMANDS]),
    ],
)
def test_the_pages_name_everything(what: str, names: list[str], docs: str) -> None:
    assert unnamed(names, docs) == [], f"{what} that no page of docs/ mentions"


def public(thing: Any) -> list[str]:
    return [name for name in thing if not name.startswith("_")]


@pytest.mark.parametrize(
    ("page", "what", "names"),
    [
        ("rtp", "arguments of send", list(FrameOptions.__annotations__)),
        ("rtp", "arguments of send_block", list(BlockOptions.__annotations__)),
        ("rtp", "frame facts", [*shmring.rtp.Frame._fields, "elements"]),
        ("rtp", "erasure facts", list(shmring.rtp.Erasure._fields)),
        ("rtp", "resync facts", list(shmring.rtp.Resync._fields)),
        ("rtp", "goodbye facts", list(shmring.rtp.Bye._fields)),
        ("rtp", "batch facts", public(dir(shmring.rtp.Batch))),
        ("rtp", "statistics", public(dir(shmring.rtp.Stats))),
        ("rtp", "public names", list(shmring.rtp.__all__)),
        ("rtp", "calls", public(vars(shmring.rtp.Channel))),
        ("netflux", "snapshot facts", [*shmring.netflux.Snapshot._fields, "age_ns"]),
        ("netflux", "arrival facts", list(shmring.netflux.Values._fields)),
        ("netflux", "event facts", list(shmring.netflux.Event._fields)),
        ("netflux", "events", [str(kind) for kind in shmring.netflux.EventKind]),
        ("netflux", "facts of what is sent", list(shmring.netflux.SentValues._fields)),
        ("netflux", "settings", [*shmring.netflux.Settings._fields]),
        ("netflux", "statistics", public(dir(shmring.netflux.Stats))),
        ("netflux", "public names", list(shmring.netflux.__all__)),
        ("netflux", "calls", public(vars(shmring.netflux.Channel))),
    ],
)
def test_the_page_of_an_engine_names_everything(page: str, what: str, names: list[str]) -> None:
    assert unnamed(names, text_of(f"docs/reference/{page}.md")) == [], what


# --- links ----------------------------------------------------------------------------------------


@pytest.mark.check
def test_the_example_of_controller_and_logger_runs(
    plc_sim: Any, shmring_namespace: str, tmp_path: Path
) -> None:
    """The controller is killed and started again; meanwhile the partner has fail-safe values."""
    for block in blocks("docs/reference/netflux.md"):
        name = re.match(r"# (\w+\.py)", block.code)
        if name:
            (tmp_path / name[1]).write_text(block.code, encoding="utf-8")

    def machine(plc: Any) -> None:
        """Follows the speed it is told, and makes a part in each scan in which it runs."""
        nonlocal parts
        speed, run = struct.unpack("<f?3x", plc.received)
        parts += run and logging.is_set()
        plc.put(struct.pack("<fi", speed, parts))

    parts, logging = 0, threading.Event()
    plc = plc_sim(Codesys5(receive=8, send=8, program=machine))
    with contextlib.ExitStack() as stack:

        def start(*arguments: object) -> subprocess.Popen[str]:
            command = [sys.executable, "-W", "ignore::RuntimeWarning", *map(str, arguments)]
            environment = os.environ | {"PYTHONSAFEPATH": "", "PYTHONPATH": str(tmp_path)}
            pipe = subprocess.PIPE
            program = subprocess.Popen(
                command, stdout=pipe, text=True, env=environment, cwd=tmp_path
            )
            stack.callback(program.communicate)
            stack.callback(program.kill)
            return program

        def said(program: subprocess.Popen[str]) -> str:
            assert program.stdout is not None
            return program.stdout.readline()

        pool = start("-m", "shmring_cli", "up", "line")
        stack.callback(pool.wait, PATIENCE_S)
        stack.callback(pool.terminate)
        assert "is ready" in said(pool)
        controller = start(tmp_path / "controller.py", *plc.address)
        assert said(controller) == "open\n"
        logger = start(tmp_path / "logger.py")
        assert said(logger).count(",")
        plc.wait_for(lambda partner: partner.received[4:5] == b"\1", PATIENCE_S)
        controller.kill()
        plc.wait_for(lambda partner: partner.received == bytes(8), PATIENCE_S)
        controller = start(tmp_path / "controller.py", *plc.address)
        logging.set()
        assert said(controller) == "open\n"
        assert controller.wait(PATIENCE_S) == 0
        pool.terminate()
        assert pool.wait(PATIENCE_S) == 0
        logged, _ = logger.communicate(timeout=PATIENCE_S)
        assert logger.returncode == 0
    made = [int(line.split(",")[3]) for line in logged.splitlines() if line.count(",") == 3]
    assert made == sorted(made)
    assert made[-1] >= 100


def test_the_glossary_has_few_terms_each_once() -> None:
    cells = rows(text_of("docs/reference/glossary.md"), "# Glossary")
    terms = [term for row in cells for term in row[0].split(", ")]
    assert len(terms) == len(set(terms)) <= 60


def test_the_page_on_recordings_is_the_format() -> None:
    shown = code(text_of("docs/howto/recording.md"))
    for kind in (recording.Row, recording.Header):
        names = [item.name for item in dataclasses.fields(kind)]
        assert [name for name in names if f"`{name}`" not in shown] == []


def test_in_each_world_no_test_fails_or_runs_again() -> None:
    worlds = list((checkout() / "tests/worlds").glob("*.skips"))
    cells = rows(text_of("docs/explanation/reliability.md"), "## What the tests take")
    counts = [row[1:4] for row in cells if len(row) == 7]
    assert counts == [["0", "0", "0"]] * len(worlds)


def test_the_failures_on_the_page_are_those_of_the_list() -> None:
    listed = text_of("docs/lab/failed-tests.md")
    causes = rows(text_of("docs/explanation/reliability.md"), "## Tests that failed by chance")
    assert sum(int(row[1]) for row in causes) == listed.count("\n| ") - 1  # the heading
    assert int(causes[0][1]) == listed.count("**The product.**")


def test_the_table_of_exit_codes_is_that_of_the_commands() -> None:
    listed = re.findall(r"^\| (\d) \| ", text_of("docs/reference/commands.md"), re.M)
    assert [int(code) for code in listed] == list(EXIT_CODES)


def test_the_list_of_findings_is_the_doctors_checks() -> None:
    items = re.findall(r"^\* (`\w+\.\w+`.*?): ", text_of("docs/howto/doctor.md"), re.M)
    listed = [name for item in items for name in re.findall(r"[\w.]+", item)]
    assert listed == [check.id for check in doctor.CHECKS]


def test_the_page_on_rtstat_names_commands_and_options() -> None:
    shown = code(text_of("docs/reference/rtstat.md"))
    parser = argparse.ArgumentParser()
    rtstat.overview.add_arguments(parser)
    options = {text for action in parser._actions for text in action.option_strings}
    commands = [f"rtstat {command.name}" for command in rtstat.cli.COMMANDS]
    quiet = {"-h", "--help", "--interval", "-n", "--count"}
    assert not [name for name in (*commands, *(options - quiet)) if name not in shown]


def test_the_page_on_metrics_names_metrics_that_exist() -> None:
    known = " ".join(
        family.name + suffix for family in FAMILIES for suffix in (" ", "_bucket ", "_count ")
    )
    for name in re.findall(r"\bshmring_[a-z_]+", text_of("docs/howto/metrics.md")):
        assert (name if name.endswith("_") else f"{name} ") in known, name


def test_the_table_of_errors_is_the_errors() -> None:
    table = rows(text_of("docs/reference/errors.md"), "# Errors")
    listed = {row[0].strip("`"): re.findall(r"\w+", row[1]) for row in table}
    expected = set(EXCEPTIONS) - {"ShmringError", "RealtimeWarning", "UnsentWarning"}
    assert set(listed) == expected
    for name, bases in listed.items():
        above = {base.__name__ for base in getattr(shmring.errors, name).__mro__}
        assert set(bases) <= above, name


# --- what they name exists ------------------------------------------------------------------------

PAGES = ["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "workers/README.md"]


def pages() -> list[str]:
    return PAGES + pages_of_docs() if CHECKOUT else []


def fields_of_wireshark() -> set[str]:
    folder = importlib.resources.files("shmring_cli") / "wireshark"
    return set(re.findall(r'^ +\{ "(\w+)"', (folder / "shmring.lua").read_text(), re.M))


@pytest.mark.parametrize("page", pages())
def test_names_of_the_package_exist(page: str) -> None:
    shown = code(text_of(page))
    for name in re.findall(r"\bshmring\.(\w+)(?=[\s(,.)`])", shown):
        known = {"pool", "testing", "udt", "workers", "jsonl", "conf", "h", "pc", "fish"}
        if page == "docs/howto/tap.md":
            known |= fields_of_wireshark()
        assert hasattr(shmring, name) or name in known, name
    channel = shmring.rtp.Channel if page == "docs/reference/rtp.md" else shmring.Channel
    for name in re.findall(r"\bch\.(\w+)", shown):
        assert hasattr(channel, name), f"ch.{name}"
    for name in re.findall(r"(?<![./])\bpool\.(\w+)", shown):
        assert hasattr(shmring.Pool, name) or name == "sock", f"pool.{name}"


@pytest.mark.parametrize("page", pages())
def test_commands_exist(page: str) -> None:
    """The commands of the blocks have the options that they are shown with."""
    known = {command.name for command in COMMANDS} | {"COMMAND"}
    text = text_of(page)
    for command in re.findall(r"`shmring (\w+)", text):
        assert command in known
    for tool, rest in re.findall(r"^(?:\$ )?(?:sudo )?(shmring|rtstat)((?: .*)?)$", text, re.M):
        words = shlex.split(re.split(r"  +| [#|>]", rest)[0])  # without the comment beside it
        assert parses(tool, words), f"{tool}{rest}"


def parses(tool: str, words: list[str]) -> bool:
    try:
        if words[:1] == ["top"]:
            tool, words = "rtstat", words[1:]
        if tool == "shmring":
            shmring_cli.whole_parser().parse_args(words)
        else:
            of = next((c for c in rtstat.cli.COMMANDS if words[:1] == [c.name]), None)
            parser = rtstat.cli.command_parser(of) if of else rtstat.cli.whole_parser()
            parser.parse_args(words[1:] if of else words)
    except SystemExit as end:
        return not end.code
    return True


def test_the_page_on_records_names_every_type() -> None:
    shown = code(text_of("docs/reference/netflux-records.md"))
    names = [name for name in records.__all__ if name.isupper()]
    assert [name for name in names if not re.search(rf"\b{name}\b", shown)] == []


def test_the_walk_to_the_wire_names_functions_that_exist() -> None:
    hops = re.findall(r"^\| (\d) \| `(\w+)` \| (?:`(.*)`|.*) \|$", text_of("ARCHITECTURE.md"), re.M)
    assert [int(number) for number, _, _ in hops] == list(range(1, 10))
    for _, function, file in hops[:-1]:
        made = rf"^(?:[\w ]+[ *]{function}\(|FORWARD\({function.removeprefix('calls_')}\))"
        assert re.search(made, text_of(file), re.M), f"{file} has no {function}"
    assert f"{hops[-1][1]}(" in text_of(hops[-2][2])


def test_the_reading_path_is_short() -> None:
    path = rows(text_of("ARCHITECTURE.md"), "## Reading path")
    files = [row[0].strip("`") for row in path]
    assert len(files) <= 12
    assert sum(len(text_of(file).splitlines()) for file in files) <= 4000


def test_the_reference_has_every_public_name() -> None:
    assert CHECKOUT is not None
    pages = (CHECKOUT / "docs" / "reference" / "api").glob("*.rst")
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    listed = set(re.findall(r"^\.\. auto\w+:: (?:\w+\.)*(\w+)$", text, re.M))
    # A union of types, which autodoc has nothing to say about, and a module with a page of its own.
    names = {name for room in ROOMS for name in room.__all__}
    assert {*EXCEPTIONS, *names} - listed <= NOT_DOCUMENTED


# --- where old names are --------------------------------------------------------------------------

FROM_OLD = text_of("docs/moving/from-0.1.md") if CHECKOUT else ""
ROWS_OF_OLD = re.findall(r"^\|`([\w.]+)`\|(.+)\|$", FROM_OLD, re.M)
MOVED = [(old, new.replace("`", "")) for old, new in ROWS_OF_OLD]
OF_FRONT = [(old, new) for old, new in MOVED if "." not in old]
OF_OBJECTS = {
    kind: importlib.import_module(f"shmring.{home}")._MOVED
    for kind, home in (
        ("Channel", "_channel_base"),
        ("Pool", "pool"),
        ("control", "control"),
        ("cyclic.Ticks", "cyclic.ticks"),
        ("stats.ChannelStats", "stats"),
        ("udt", "udt"),
        ("udt.UdtListener", "udt.listener"),
        ("udt.UdtSocket", "udt.socket"),
    )
}


def find(path: str) -> Any:
    """What a path from `shmring` names. Behind a class it is what its objects have."""
    found: Any = shmring
    for name in path.split("."):
        if isinstance(found, type) and not hasattr(found, name):
            found = found.__new__(found)  # its old names are known to its objects alone
        found = getattr(found, name)
    return found


def test_the_table_has_every_old_name_of_the_front() -> None:
    moved = {name for names in shmring._MOVED.values() for name in names.split()}
    assert {old for old, _ in OF_FRONT} == moved
    assert moved.isdisjoint(dir(shmring))


def test_the_table_has_every_old_name_of_objects() -> None:
    moved = {f"{of}.{old}": new for of, names in OF_OBJECTS.items() for old, new in names.items()}
    assert {old: new for old, new in MOVED if "." in old} == moved


@pytest.mark.parametrize(("old", "new"), MOVED)
def test_an_old_name_names_the_new_one(old: str, new: str) -> None:
    with pytest.raises(AttributeError, match=rf"is now {re.escape(new)}$"):
        find(old)


@pytest.mark.parametrize("new", [new for _, new in OF_FRONT])
def test_the_new_name_exists(new: str) -> None:
    place = new.removeprefix("shmring.").replace("default_pool().aio", "pool.PoolAio")
    assert find(place) is not None


def test_an_import_of_an_old_name_names_the_new_one() -> None:
    with pytest.raises(ImportError, match=r"shmring\.RtpFrame is now shmring\.rtp\.Frame"):
        from shmring import RtpFrame  # type: ignore[attr-defined]  # noqa: F401


# --- what the installed programs name is installed ------------------------------------------------


def test_messages_name_pages_that_are_installed() -> None:
    """No installed file sends its reader to `docs/`, which is not installed."""
    installed = pages_of_help()
    assert CHECKOUT is not None
    lab = "docs/lab/"  # outside of the list
    shown = [page for page in pages_of_docs() if page != "docs/index.md"]
    names = [Path(page).stem for page in shown if not page.startswith(lab)]
    assert sorted(installed) == sorted(names), "names are unique, and all pages are installed"
    for folder in ("shmring", "workers", "tools", "api", "csrc/client", "csrc/worker"):
        for source in (CHECKOUT / folder).rglob("*.[pch]*"):
            if source.suffix not in (".py", ".c", ".h"):
                continue
            text = source.read_text(encoding="utf-8")
            named = re.findall(r"\bshmring help ([a-z][\w-]+)", text)
            assert set(named) <= set(installed) | {"PAGE"}, source
            for literal in re.findall(r'"[^"\n]*\bdocs/[a-z]+/[a-z-]+\.md[^"\n]*"', text):
                assert "help" in literal, f"{source}: {literal}"
