"""What importing the sources in the place of an installed package says."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


def test_a_source_folder_says_what_to_do(tmp_path):
    sources = Path(__file__).parents[3] / "shmring"
    if not sources.is_dir():
        pytest.skip("no source tree around these tests")
    package = tmp_path / "shmring"
    package.mkdir()
    for source in sources.glob("*.py"):
        (package / source.name).write_bytes(source.read_bytes())
    done = subprocess.run(
        [sys.executable, "-S", "-c", "import shmring"],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "ImportError" in done.stderr
    assert "pip install ." in done.stderr
    assert "another folder" in done.stderr
