"""The stub of the hand-written module says what is in it."""

import importlib.util
import subprocess
import sys

import pytest


@pytest.mark.skipif(
    not (importlib.util.find_spec("mypy") and importlib.util.find_spec("shmring._hot")),
    reason="needs mypy and shmring._hot",
)
def test_the_stub_of_hot_is_right(tmp_path):
    done = subprocess.run(
        [sys.executable, "-P", "-m", "mypy.stubtest", "shmring._hot"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
