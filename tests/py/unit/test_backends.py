"""The tests of channels once more, over the backend that is not in use here."""

import importlib.util
import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

from shmring import _backend, _core_cffi

OTHER = {"hot": "cffi", "cffi": "hot"}[_backend.NAME]


@pytest.mark.skipif(
    "SHMRING_BACKEND" in os.environ,
    reason="SHMRING_BACKEND is set: no other backend is wanted",
)
@pytest.mark.skipif(
    not importlib.util.find_spec("shmring._hot"), reason="there is no shmring._hot for this Python"
)
@pytest.mark.timeout(600)
def test_the_other_backend_passes_the_same_tests():
    done = subprocess.run(
        [sys.executable, "-P", "-m", "pytest", "-q", "-x", str(Path(__file__).parent / "channel")],
        env=os.environ | {"SHMRING_BACKEND": OTHER},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-8000:]


def test_a_backend_that_does_not_exist():
    code = "import shmring"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env=os.environ | {"SHMRING_BACKEND": "fast"},
        capture_output=True,
        text=True,
    )
    assert "SHMRING_BACKEND is 'fast'" in done.stderr


@pytest.mark.skipif(
    not importlib.util.find_spec("shmring._hot"), reason="there is no shmring._hot for this Python"
)
def test_both_backends_have_the_same_calls():
    from shmring import _hot

    calls = ("send", "send_many", "replace", "recv", "try_recv", "recv_into", "recv_many")
    for name in calls:
        hot = inspect.signature(getattr(_hot.Core, name))
        cffi = inspect.signature(getattr(_core_cffi.Core, name))
        assert [(p.name, p.kind, p.default) for p in hot.parameters.values()][1:] == [
            (p.name, p.kind, p.default) for p in cffi.parameters.values()
        ][1:], name
    fields = {name for name in dir(_core_cffi.Packet) if not name.startswith("_")}
    assert fields == {name for name in dir(_hot.Packet) if not name.startswith("_")}


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
