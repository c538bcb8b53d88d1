"""Print the completion of shmring and rtstat for a shell.

The script knows commands, options, and values that come from a list. Names of channels,
pools and namespaces come from `shmring top list`, which only reads shared memory. It describes
this version: print it again after an update, or let the shell ask each time it starts.

examples:
  eval "$(shmring completion bash)"                                     in ~/.bashrc
  eval "$(shmring completion zsh)"                                      in ~/.zshrc, after compinit
  shmring completion fish > ~/.config/fish/completions/shmring.fish     and once more as rtstat.fish
"""

from __future__ import annotations

import argparse
import shlex
from dataclasses import replace

from shmring_cli.common import FINE
from shmring_cli.parsers import CommandLine, Option, children, command_lines

_FILES = "__files__"
# Marks of names that exist on this host, and what prints these names. The shell may find iproute2's
# program under the name rtstat.
_CHANNELS, _POOLS, _NAMESPACES = "__channels__", "__pools__", "__namespaces__"
_LISTS = {
    _CHANNELS: "shmring top list -q 2>/dev/null | cut -d/ -f2",
    _POOLS: "shmring top list 2>/dev/null | awk '{print $2}' | sort -u",
    _NAMESPACES: "shmring top list -q --namespace '*' 2>/dev/null | cut -d/ -f1 | sort -u",
}
_NAMES = {
    **dict.fromkeys(("CHANNEL", "CHANNELS", "--channel"), _CHANNELS),
    **dict.fromkeys(("POOL", "--pool"), _POOLS),
    **dict.fromkeys(("NS", "--namespace"), _NAMESPACES),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=tuple(SCRIPTS), help="the shell that completes")


def run(arguments: argparse.Namespace) -> int:
    print(SCRIPTS[arguments.shell](every_line()), end="")
    return FINE


def every_line() -> list[CommandLine]:
    """Every program and command, and what follows ``shmring top``: the words of rtstat."""
    lines = [line for line in command_lines() if line.words != ("shmring", "top")]
    tops = [
        replace(line, words=("shmring", "top", *line.words[1:]))
        for line in lines
        if line.words[0] == "rtstat"
    ]
    return lines + tops


def _value(option: Option) -> str:
    """What completes the value of an option: words, or a mark."""
    if option.choices:
        return " ".join(option.choices)
    return next((_NAMES[w] for w in (option.metavar, *option.flags) if w in _NAMES), _FILES)


def _argument(line: CommandLine) -> str:
    values = [_value(option) for option in line.options if not option.flags]
    return values[0] if values else ""


def _flags(line: CommandLine) -> list[tuple[str, str]]:
    return [(flag, option.help) for option in line.options for flag in option.flags]


def _cases(lines: list[CommandLine]) -> str:
    """A `case` of POSIX shells, which both bash and zsh read: from the command line so far to the
    variables `commands`, `options`, `argument`, and from its last option to `value`."""
    text = ['  case "$line" in']
    for line in lines:
        below = " ".join(child.words[-1] for child in children(lines, line))
        flags = " ".join(flag for flag, _ in _flags(line))
        parts = f"commands={shlex.quote(below)} options={shlex.quote(flags)}"
        text.append(
            f'  "{" ".join(line.words)}") {parts} argument={shlex.quote(_argument(line))} ;;'
        )
    text += ["  esac", '  case "$line $previous" in']
    for line in lines:
        for option in line.options:
            if option.flags and option.metavar:
                patterns = "|".join(f'"{" ".join(line.words)} {flag}"' for flag in option.flags)
                text.append(f"  {patterns}) value={shlex.quote(_value(option))} ;;")
    return "\n".join([*text, "  esac"])


def _known(lines: list[CommandLine]) -> str:
    return "|".join(f'"{" ".join(line.words)}"' for line in lines if len(line.words) > 1)


def bash(lines: list[CommandLine]) -> str:
    """Return the script for bash."""
    lists = "\n".join(f"  {mark}) value=$({names}) ;;" for mark, names in _LISTS.items())
    return f"""\
_shmring_completion() {{
  local line=${{COMP_WORDS[0]##*/}} word commands= options= argument= value=
  local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}}
  for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
    case "$line $word" in {_known(lines)}) line="$line $word" ;; esac
  done
{_cases(lines)}
  if [ -z "$value" ]; then
    case "$current" in -*) value=$options ;; *) value=${{commands:-$argument}} ;; esac
  fi
  case "$value" in
{lists}
  {_FILES}) COMPREPLY=($(compgen -f -- "$current")); compopt -o filenames 2>/dev/null; return ;;
  esac
  COMPREPLY=($(compgen -W "$value" -- "$current"))
}}
complete -F _shmring_completion shmring rtstat
"""


def zsh(lines: list[CommandLine]) -> str:
    """Return the script for zsh."""
    lists = "\n".join(
        f'  {mark}) compadd -- ${{(f)"$({names})"}} ;;' for mark, names in _LISTS.items()
    )
    return f"""\
#compdef shmring rtstat
_shmring_completion() {{
  local line=${{words[1]##*/}} word commands= options= argument= value=
  local previous=${{words[CURRENT-1]}}
  for word in "${{(@)words[2,CURRENT-1]}}"; do
    case "$line $word" in {_known(lines)}) line="$line $word" ;; esac
  done
{_cases(lines)}
  if [ -z "$value" ]; then
    case "$PREFIX" in -*) value=$options ;; *) value=${{commands:-$argument}} ;; esac
  fi
  case "$value" in
{lists}
  {_FILES}) _files ;;
  *) compadd -- ${{=value}} ;;
  esac
}}
compdef _shmring_completion shmring rtstat
"""


def fish(lines: list[CommandLine]) -> str:
    """Return the script for fish."""
    known = " ".join(shlex.quote(" ".join(line.words)) for line in lines if len(line.words) > 1)
    text = [
        "function __shmring_line",
        "    set -l tokens (commandline -opc)",
        "    set -l line (path basename $tokens[1])",
        "    for word in $tokens[2..-1]",
        f'        contains -- "$line $word" {known}; and set line "$line $word"',
        "    end",
        "    echo $line",
        "end",
    ]
    for line in lines:
        words, program = " ".join(line.words), line.words[0]
        begin = f"complete -c {program} -n 'test (__shmring_line) = \"{words}\"'"
        if _argument(line) != _FILES:
            begin += " -f"
        text += [
            f"{begin} -a {child.words[-1]} -d {shlex.quote(child.help)}"
            for child in children(lines, line)
        ]
        text += [begin + _fish_option(option) for option in line.options]
    return "\n".join(text) + "\n"


def _fish_option(option: Option) -> str:
    parts = [f" -l {flag[2:]}" if flag[:2] == "--" else f" -s {flag[1:]}" for flag in option.flags]
    value = _value(option)
    if option.metavar and value in _LISTS:
        parts.append(f" -a {shlex.quote(f'({_LISTS[value]})')}")
    elif option.metavar and value != _FILES:
        parts.append(f" -a {shlex.quote(value)}")
    if option.flags and option.metavar:
        parts.append(" -r")
    return "".join([*parts, f" -d {shlex.quote(' '.join(option.help.split()))}"])


SCRIPTS = {"bash": bash, "zsh": zsh, "fish": fish}
