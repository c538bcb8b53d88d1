"""Texts that other processes chose: names of processes, and words in memory that they write."""


def printable(text: str) -> str:
    """Replace what would control a terminal or break a line."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
