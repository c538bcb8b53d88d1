"""Check whether this machine is fit for real-time UDP, and show the fixes.

The doctor checks privileges, scheduler, cores, clocks, memory, network, interfaces, and what
a container hides, and measures for 2 s how late a worker wakes on its core. Each finding has
the measured value. If it is not ok, it also has the reason why that matters, and the fix:
  $ a command   unit: a line for the service   boot: words for the kernel's command line
  file: a setting that survives a restart   container: an option of docker or podman

The verdict comes first, then the three worst findings. --all shows the rest.
A finding is ok, limits (it works, with a price), unfit (deadlines will be missed) or hidden
(it is not visible from here, as in containers). The doctor changes nothing on the machine.

`shmring doctor realtime` prints all about one thing: what a worker needs so that the warning
"packets may be late under load" goes away.

Exit codes: 0 fit, 3 fit with limits, 5 unfit.

examples:
  shmring doctor                            the cores of the workers here, all interfaces
  shmring doctor --cpus 2,3 --interface eth0
  shmring doctor --quick                    without the 2 s test
  shmring doctor --all                      every finding, not only the three worst
  shmring doctor --json                     for programs
  shmring doctor realtime                   only real-time priority and locked memory
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import textwrap
from collections.abc import Sequence

import shmring_doctor as doctor
from rtworkers import affinity
from shmring_cli import options
from shmring_cli.common import BROKEN, FINE, LATE, USAGE
from shmring_cli.output import JsonRows
from shmring_doctor import Finding, Fix, FixKind, Status, Verdict
from shmring_doctor.host import cores, parse_cpus

WORST = 3
EXIT_CODES = {Verdict.FIT: FINE, Verdict.LIMITED: LATE, Verdict.UNFIT: BROKEN}

_COLOURS = {Status.OK: "32", Status.LIMITS: "33", Status.UNFIT: "31;1", Status.HIDDEN: "36"}
_VERDICT_COLOURS = {Verdict.FIT: "32", Verdict.LIMITED: "33", Verdict.UNFIT: "31;1"}
_WIDEST = 110


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "topic", nargs="?", choices=("realtime",), help="only what a RealtimeWarning is about"
    )
    parser.add_argument(
        "--cpus",
        metavar="LIST",
        help="cores of the workers, such as 2,3 (default: of running workers, else the last core)",
    )
    parser.add_argument(
        "--interface",
        metavar="NAME",
        action="append",
        default=[],
        help="only this interface; may be repeated (default: all that are up)",
    )
    parser.add_argument("--quick", action="store_true", help="without the 2 s test")
    parser.add_argument(
        "--all", action="store_true", help="every finding, not only the worst, and why it matters"
    )
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    if arguments.cpus is None:
        cpus, because = doctor.choose_cpus()
    else:
        named = parse_cpus(arguments.cpus)
        try:
            if not named:
                raise ValueError(f"--cpus {arguments.cpus!r}: give a list such as 2,3 or 2-5")
            cpus, because = affinity.check_cores(sorted(named)) or (), "as requested"
        except ValueError as error:
            print(f"shmring doctor: {error}", file=sys.stderr)
            return USAGE
    if arguments.topic is not None:
        return _realtime(max(cpus), arguments)
    seconds = 0.0 if arguments.quick else doctor.SECONDS
    if not arguments.json:
        print(_head(cpus, because, seconds), flush=True)
    findings = doctor.examine(cpus, arguments.interface, seconds=seconds)
    verdict = doctor.verdict(findings)
    if arguments.json:
        _print_json(findings)
    else:
        _print(findings, verdict, arguments)
    return EXIT_CODES[verdict]


def _print_json(findings: Sequence[Finding]) -> None:
    rows = JsonRows("document")
    for finding in findings:
        rows.add(finding.to_dict())
    rows.end()


def _realtime(cpu: int, arguments: argparse.Namespace) -> int:
    findings = doctor.examine_realtime(cpu)
    verdict = doctor.verdict(findings)
    if arguments.json:
        _print_json(findings)
        return EXIT_CODES[verdict]
    columns = min(_WIDEST, shutil.get_terminal_size().columns)
    fixes: dict[Fix, None] = {}
    for finding in findings:
        state = "" if finding.status is Status.OK else f"{finding.status.value}: "
        print(f"{finding.title}: {state}{finding.measured}")
        if finding.status is not Status.OK:
            for line in _wrap(finding.why, columns - 2):
                print(f"  {line}")
            fixes.update(dict.fromkeys(finding.fixes))
    if not fixes:
        print("\nNothing is missing.")
        return EXIT_CODES[verdict]
    print("\nWhat helps, each line where it belongs:\n")
    for fix in fixes:
        print(f"  {_fix(fix)}")
    if any("setcap" in fix.text for fix in fixes):
        print("\nThe setcap line is for a group. Join it, and log in again:\n")
        print(f'  $ sudo usermod -aG {affinity.GROUP} "$USER"')
    print(
        '\nA program that may be late: Pool(policy="other"), or SHMRING_POLICY=other in the\n'
        "environment, asks for nothing. The whole story: shmring help permissions"
    )
    return EXIT_CODES[verdict]


def _head(cpus: tuple[int, ...], because: str, seconds: float) -> str:
    test = f"{seconds:g} s of measuring" if seconds else "without measuring"
    return f"{platform.node()}, {cores(cpus)} ({because}), {test}"


def _print(findings: list[Finding], verdict: Verdict, arguments: argparse.Namespace) -> None:
    colour = _coloured()
    columns = min(_WIDEST, shutil.get_terminal_size().columns)
    width = max(len(_name(finding)) for finding in findings)
    counts = {status: sum(f.status == status for f in findings) for status in Status}
    summary = ", ".join(f"{count} {status.value}" for status, count in counts.items() if count)
    print(f"\n{_paint(verdict.value, _VERDICT_COLOURS[verdict], colour)}: {summary}")
    parts = {_first(worst): worst for worst in [worst_first(findings)[:WORST]] if worst}
    rest = len(findings) - sum(map(len, parts.values()))
    if arguments.all:
        parts |= {group: [f for f in findings if f.group == group] for group in doctor.GROUPS}
    for title, members in parts.items():
        if members:
            print(f"\n{_paint(title, '1', colour)}")
        for finding in members:
            _print_finding(finding, width, columns, colour, arguments.all)
    if not arguments.all:
        print(f"\n{rest} more: shmring doctor --all")


def _first(worst: list[Finding]) -> str:
    return f"fix these {len(worst)} first" if len(worst) > 1 else "fix this first"


def worst_first(findings: list[Finding]) -> list[Finding]:
    """Return those that are not ok: unfit ones first, then those that a command fixes."""
    wrong = [finding for finding in findings if finding.status in (Status.UNFIT, Status.LIMITS)]
    return sorted(wrong, key=lambda finding: (finding.status is Status.LIMITS, not _quick(finding)))


def _quick(finding: Finding) -> bool:
    return any(fix.kind is FixKind.COMMAND for fix in finding.fixes)


def _name(finding: Finding) -> str:
    return f"{finding.title} {finding.subject}".rstrip()


def _print_finding(finding: Finding, width: int, columns: int, colour: bool, verbose: bool) -> None:
    mark = _paint(f"{finding.status.value:<6}", _COLOURS[finding.status], colour)
    indent = " " * (2 + 6 + 2 + width + 2)
    room = max(30, columns - len(indent))
    first, *rest = _wrap(finding.measured, room)
    print(f"  {mark}  {_name(finding):<{width}}  {first}")
    for line in rest:
        print(indent + line)
    if finding.status is Status.OK and not verbose:
        return
    for line in _wrap(finding.why, columns - 10):
        print(" " * 10 + _paint(line, "2", colour))
    for fix in finding.fixes:
        print(" " * 10 + _fix(fix))


def _wrap(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False) or [""]


def _fix(fix: Fix) -> str:
    """Return the line unwrapped, because it is there to be copied."""
    return f"$ {fix.text}" if fix.kind is FixKind.COMMAND else f"{fix.kind.value}: {fix.text}"


def _coloured() -> bool:
    return (
        sys.stdout.isatty()
        and os.environ.get("TERM", "dumb") != "dumb"
        and not os.environ.get("NO_COLOR")
    )


def _paint(text: str, code: str, colour: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if colour else text
