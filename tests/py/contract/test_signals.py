"""Commands meet signals in one place, `shmring_cli.ending`, whose handlers cannot block."""

from __future__ import annotations

import re

import pytest

WAYS = re.compile(
    r"signal\.(signal|set_wakeup_fd|sigwait\w*|sigtimedwait|pthread_sigmask|setitimer|siginterrupt)"
    r"\(|add_signal_handler"
)


def test_no_other_file_handles_signals(request: pytest.FixtureRequest) -> None:
    root = request.config.rootpath
    if not (root / "tools").is_dir():
        pytest.skip("the sources are not here")
    folders = ("tools", "api", "shmring", "workers")
    files = [path for folder in folders for path in root.glob(f"{folder}/**/*.py")]
    found = [str(path.relative_to(root)) for path in files if WAYS.search(path.read_text("utf-8"))]
    assert found == ["tools/shmring_cli/ending.py"]
