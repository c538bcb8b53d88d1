"""The parsers of all commands: completion of shells and manual pages are made from them."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Option:
    """An option, or with no flags an argument by position."""

    flags: tuple[str, ...]
    metavar: str
    """The name of its value. Empty: it has none."""
    choices: tuple[str, ...]
    help: str


@dataclass(frozen=True, slots=True)
class CommandLine:
    """A program, or one of its commands."""

    words: tuple[str, ...]
    """``("shmring", "udt", "send")``."""
    help: str
    """One line."""
    parser: argparse.ArgumentParser

    @property
    def options(self) -> list[Option]:
        """Its options and arguments in the order of its help, without commands."""
        hidden = (argparse._SubParsersAction,)
        return [
            _option(action, self.parser)
            for action in self.parser._actions
            if not isinstance(action, hidden) and action.help != argparse.SUPPRESS
        ]


def command_lines() -> list[CommandLine]:
    """Every program and command, each before its own commands."""
    return [line for name in ("shmring_cli", "rtstat.cli") for line in _of_program(name)]


def children(lines: list[CommandLine], of: CommandLine) -> list[CommandLine]:
    """Return the commands directly below `of`."""
    return [line for line in lines if line.words[:-1] == of.words]


def _of_program(module: str) -> Iterator[CommandLine]:
    """A program's module has `whole_parser` and `COMMANDS`, and `command_parser` for each of them
    that `whole_parser` leaves out."""
    program = importlib.import_module(module)
    parser = program.whole_parser()
    about = (parser.description or "").strip().splitlines()[0].rstrip(".:")
    yield from _below(CommandLine((parser.prog,), about, parser))
    if not _sub_parsers(parser):
        for command in program.COMMANDS:
            words = (parser.prog, command.name)
            yield CommandLine(words, command.help, program.command_parser(command))


def _below(line: CommandLine) -> Iterator[CommandLine]:
    yield line
    for action in _sub_parsers(line.parser):
        helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
        for name, parser in action.choices.items():
            yield from _below(CommandLine((*line.words, name), helps.get(name, ""), parser))


def _sub_parsers(
    parser: argparse.ArgumentParser,
) -> list[argparse._SubParsersAction[argparse.ArgumentParser]]:
    return [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]


def _option(action: argparse.Action, parser: argparse.ArgumentParser) -> Option:
    choices = tuple(str(choice) for choice in action.choices or ())
    metavar = ""
    if action.nargs != 0:
        metavar = str(action.metavar or (",".join(choices) if choices else action.dest.upper()))
    words = parser._get_formatter()._expand_help(action) if action.help else ""
    return Option(tuple(action.option_strings), metavar, choices, words)
