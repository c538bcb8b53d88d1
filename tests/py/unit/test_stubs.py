"""The stubs of the hand-written modules say what is in them."""

import importlib.util
import subprocess
import sys

import pytest

pytestmark = pytest.mark.check

HAND_WRITTEN = [
    "shmring._hot",
    "rtpsynth._core",
]


@pytest.mark.skipif(
    not (importlib.util.find_spec("mypy") and importlib.util.find_spec("shmring._hot")),
    reason="needs mypy and shmring._hot",
)
def test_the_stubs_are_right(tmp_path):
    done = subprocess.run(
        [sys.executable, "-P", "-m", "mypy.stubtest", *HAND_WRITTEN],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
