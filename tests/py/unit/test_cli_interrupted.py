"""Ctrl-C while a command is still being imported."""

import importlib
from typing import Any

import pytest

import shmring_cli


def test_it_ends_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(name: str) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib, "import_module", interrupted)
    assert shmring_cli.main(["generate", "10.0.0.7"]) == 2
    assert capsys.readouterr().err == "shmring generate: interrupted\n"
