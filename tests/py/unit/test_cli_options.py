"""The values of options that several commands share."""

from __future__ import annotations

import argparse

import pytest

from shmring_cli import options
from shmring_cli.common import USAGE, CommandParser


def placed(*words: str) -> argparse.Namespace:
    parser = CommandParser(prog="tool")
    options.add_placed(parser, "name", "NAME", "of something", nargs="?")
    options.add_pool(parser)
    found: argparse.Namespace = parser.parse_args(list(words))
    return found


def words(*given: str) -> argparse.Namespace:
    parser = CommandParser(prog="tool")
    options.add_socket(parser, "ttl", "dscp")
    options.add_worker(parser)
    options.add_limit(parser, late=1)
    found: argparse.Namespace = parser.parse_args(list(given))
    return found


def refusal(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "name", "pool", "namespace"),
    [
        ((), None, None, None),
        (("ctl",), "ctl", None, None),
        (("plant/ctl",), "ctl", None, "plant"),
        (("--pool", "plant/line", "ctl"), "ctl", "line", "plant"),
        (("ctl", "--pool", "plant/line"), "ctl", "line", "plant"),
        (("plant/ctl", "--pool", "plant/line"), "ctl", "line", "plant"),
    ],
)
def test_a_name_may_have_its_namespace(
    words: tuple[str, ...], name: str | None, pool: str | None, namespace: str | None
) -> None:
    found = placed(*words)
    assert (found.name, found.pool, found.namespace) == (name, pool, namespace)


@pytest.mark.parametrize("words", [("",), ("plant/",), ("/ctl",), ("ctl", "--pool", "")])
def test_an_empty_name_is_refused(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        placed(*words)
    assert end.value.code == USAGE
    assert f"{words[-1]!r} has no name: use NAME or NAMESPACE/NAME" in refusal(capsys)


def test_two_namespaces_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        placed("--pool", "plant/line", "hall/ctl")
    assert end.value.code == USAGE
    assert "'hall/ctl' is not in namespace 'plant': name one namespace" in refusal(capsys)


def test_words_set_arguments() -> None:
    found = words("--socket", "ttl=0,no-gso", "--worker", "cpu=0", "--limit", "late=5%")
    assert (found.ttl, found.dscp, found.gso, found.cpu) == (0, None, False, 0)
    assert found.late_limit == pytest.approx(5)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--socket", "ttl=x", "'ttl=x': 'x' is no whole number: use 0, 1, 1000 or 10k"),
        ("--worker", "cpu=1k", "'cpu=1k': '1k' is no number of a core: use 0, 1 or 3"),
        ("--worker", "profile=fast", "'profile=fast': 'fast' is unknown: use balanced, latency"),
        ("--limit", "late=x", "'late=x': 'x' is no share: use 1% or 0.01"),
    ],
)
def test_a_wrong_value_is_shown_with_its_word(
    option: str, value: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        words(option, value)
    assert end.value.code == USAGE
    assert message in refusal(capsys)
