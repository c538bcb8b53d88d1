"""Checks the ordering pairs of csrc against the C11 memory model: `python
tests/model/litmus/check.py`.

For each pair of `pairs.PAIRS` the bad outcome must be impossible with the memory orders that the
code uses, and possible as soon as one of them is weaker: so no order is missing and none is there
for nothing. Every label in csrc must belong to a pair, and every label of a pair must still be
there. Exit 0: all of that holds.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from pairs import PAIRS, Pair, Shape
from rc11 import outcomes

CSRC = Path(__file__).resolve().parents[3] / "csrc"
LABEL = re.compile(r"/\*\s*([A-Z]\d+)\b|pairs with ([A-Z]\d+)\b")


def possible(shape: Shape, **other: str) -> bool:
    threads = shape.threads(shape.modes | other)
    return any(shape.forbidden(outcome) for outcome in outcomes(threads))


def faults_of(pair: Pair) -> list[str]:
    found = []
    if possible(pair.shape):
        found.append("not enough: " + pair.without)
    for point, weaker in pair.shape.weaker.items():
        if not possible(pair.shape, **{point: weaker}):
            found.append(f"{point} could be {weaker or 'left out'}")
    return found


def labels_in_code() -> set[tuple[str, str]]:
    found = set()
    for path in sorted([*CSRC.rglob("*.c"), *CSRC.rglob("*.h")]):
        for match in LABEL.finditer(path.read_text(encoding="utf-8")):
            found.add((str(path.relative_to(CSRC)), match[1] or match[2]))
    return found


def strangers() -> list[str]:
    """Labels that are in the code but in no pair, or in a pair but not in the code."""
    code = labels_in_code()
    paired = {(file, label) for pair in PAIRS for file in pair.files for label in pair.labels}
    unpaired = [f"csrc/{file}: {label} belongs to no pair" for file, label in sorted(code - paired)]
    gone = [
        f"{', '.join(pair.files)}: {label} is not in the code"
        for pair in PAIRS
        for label in pair.labels
        if not any((file, label) in code for file in pair.files)
    ]
    return unpaired + gone


def main() -> int:
    bad = strangers()
    for pair in PAIRS:
        faults = faults_of(pair)
        name = f"{Path(pair.files[0]).stem} {' '.join(pair.labels)}"
        bad += [f"{name}: {fault}" for fault in faults]
        print(f"litmus {name:24} {'FAILED' if faults else 'needed and enough'}")
    for line in bad:
        print(line)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
