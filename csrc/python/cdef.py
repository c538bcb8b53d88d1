"""Makes the declarations that cffi reads, from the headers of C: ``cdef.py LIST OUT CSRC MADE``.

LIST names what Python sees, header by header, and declares what C calls in Python. A struct has the
fields whose types cffi knows, and ``name*`` is a struct without fields. cffi asks the compiler for
sizes, values and offsets. What `rows.py` made (in MADE) belongs to the header that includes it.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

_ATOMIC = {"rt_a32_t": "uint32_t", "rt_a64_t": "uint64_t", "rt_ai64_t": "int64_t"}
_PLAIN = {"char", "int", "double", "bool", "size_t", "unsigned", "uint8_t", "uint16_t", "int16_t"}
_PLAIN |= {"uint32_t", "int32_t", "uint64_t", "int64_t", "void"}


class Declarations:
    """What was declared so far, in order, so that later structs can have fields of earlier ones."""

    def __init__(self, enums: set[str]) -> None:
        self.lines: list[str] = []
        self._enums = enums
        self._structs: set[str] = set()

    def add(self, name: str, header: str) -> None:
        """Raises ValueError for a name that the header does not declare."""
        if name.endswith("*"):
            self._add_struct(name[:-1], "")
        elif body := re.search(rf"typedef struct \w* ?{{([^{{}}]*)}} {name};", header):
            self._add_struct(name, body[1])
        elif made := re.search(rf"(?:^|\n)((?:\w+[ *]+)+){name}\(([^)]*)\)\s*[;{{]", header):
            kind = re.sub(r"\b(static|inline|extern)\b ?", "", made[1])
            arguments = re.sub(r"\[\w*\]", "[]", " ".join(made[2].split()))
            line = f"{kind}{name}({arguments});"
            self.lines.append(re.sub(r"\w+", self._known, line))
        elif made := re.search(rf"\nextern ([^;]*\b{name}(?:\[\w+\]|\)\(void\)));", header):
            self.lines.append(f"extern {made[1]};")
        elif re.search(rf"#define {name}\b|\b{name}\b[^;(]*[,}}]", header):
            self.lines.append(f"#define {name} ...")
        else:
            raise ValueError(f"{name}: not declared")

    def _known(self, word: re.Match[str]) -> str:
        """The name of a type as cffi knows it."""
        return "int" if word[0] in self._enums else _ATOMIC.get(word[0], word[0])

    def _add_struct(self, name: str, body: str) -> None:
        fields = [self._field(" ".join(text.split())) for text in body.split(";")]
        self.lines.append(f"typedef struct {{ {' '.join(filter(None, fields))} ...; }} {name};")
        self._structs.add(name)

    def _field(self, text: str) -> str:
        found = re.fullmatch(r"((?:const )?)(\w+) (\*?)(\w+)((?:\[\w+\])?)", text)
        if found is None:
            return ""
        constant, kind, star, name, many = found.groups()
        kind = "unsigned" if kind in self._enums else _ATOMIC.get(kind, kind)
        if kind not in _PLAIN and kind not in self._structs:
            return ""
        return f"{constant}{kind} {star}{name}{'[...]' if many else ''};"


def make(names: str, csrc: Path, made_in: Path) -> str:
    """The declarations of a list."""
    headers = "".join(path.read_text("utf-8") for at in (csrc, made_in) for path in at.rglob("*.h"))
    made = Declarations(set(re.findall(r"typedef enum \w* ?{[^}]*} (\w+);", headers)))
    header = ""
    for line in names.splitlines():
        if line.startswith("extern"):
            made.lines.append(line)
            continue
        words = line.partition("#")[0].split()
        if words and words[0].endswith(":"):
            text = (csrc / words.pop(0)[:-1]).read_text("utf-8")
            for name in re.findall(r'#include "(rows/\w+\.h)"', text):
                text += (made_in / name).read_text("utf-8")
            header = re.sub(r"/\*.*?\*/|_Alignas\(\w+\)", "", text, flags=re.S)
        for word in words:
            made.add(word, header)
    return "\n".join(made.lines) + "\n"


def main(names: str, out: str, csrc: str, made_in: str) -> None:
    Path(out).write_text(make(Path(names).read_text("utf-8"), Path(csrc), Path(made_in)))


if __name__ == "__main__":
    main(*sys.argv[1:])
