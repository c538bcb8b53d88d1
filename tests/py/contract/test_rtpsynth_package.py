"""The layout of rtpsynth: modules, names, identity of types."""

import gc
import importlib
import os
import pickle
import subprocess
import sys
import weakref

import pytest

import rtpsynth
import rtpsynth.env
import rtpsynth.RtpGen
import rtpsynth.RtpProc
import rtpsynth.RtpSynth
import rtpsynth.RtpUtils
from rtpsynth.RtpProc import RtpProc
from rtpsynth.RtpSynth import RtpSynth
from rtpsynth.RtpUtils import RtpUtils

CLASSES = {
    "rtpsynth.RtpSynth.RtpSynth": lambda: RtpSynth(8000, 20),
    "rtpsynth.RtpUtils.RtpUtils": RtpUtils,
    "rtpsynth.RtpProc.RtpProc": RtpProc,
    "rtpsynth.RtpProc.RtpProcChannel": lambda: RtpProc().create_channel(lambda now, deadline: None),
}


def test_the_package_has_no_names_of_its_own():
    names = [name for name in vars(rtpsynth) if not name.startswith("_")]
    submodules = [name for name in names if hasattr(getattr(rtpsynth, name), "__loader__")]
    assert names == submodules


def test_the_constant():
    assert rtpsynth.env.RSTH_MOD_NAME == "_rtpsynth"


def test_rtpgen_is_another_name_of_rtpsynth():
    assert rtpsynth.RtpGen.RtpGen is rtpsynth.RtpSynth.RtpGen is rtpsynth.RtpSynth.RtpSynth
    assert rtpsynth.RtpGen.set_randfunc is rtpsynth.RtpSynth.set_randfunc


@pytest.mark.parametrize("name", CLASSES)
def test_names_of_types(name):
    instance = CLASSES[name]()
    module, _, class_name = name.rpartition(".")
    assert type(instance) is getattr(importlib.import_module(module), class_name)
    assert f"{type(instance).__module__}.{type(instance).__qualname__}" == name
    assert repr(instance).startswith(f"<{name} object at 0x")


@pytest.mark.parametrize("name", CLASSES)
def test_types_are_closed(name):
    instance = CLASSES[name]()
    with pytest.raises(TypeError, match=f"type '{name}' is not an acceptable base type"):
        type("Sub", (type(instance),), {})
    with pytest.raises(TypeError, match="cannot set 'x' attribute of immutable type"):
        type(instance).x = 1
    with pytest.raises(AttributeError):
        instance.x = 1
    with pytest.raises(TypeError, match="cannot create weak reference"):
        weakref.ref(instance)
    assert not gc.is_tracked(instance)


WITHIN = """
import _xxsubinterpreters as interpreters
from rtpsynth.RtpJBuf import RtpJBuf
from rtpsynth.RtpServer import RtpServer

other = interpreters.create()
interpreters.run_string(other, '''
import rtpsynth.RtpJBuf, rtpsynth.RtpSynth, rtpsynth.RtpUtils
for name in ("RtpServer", "RtpProc"):
    try:
        __import__(f"rtpsynth.{name}")
    except ImportError as error:
        print(error)
''')
interpreters.destroy(other)
RtpServer().shutdown()
print(len(RtpJBuf(3).drain_many()))
"""


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="other interpreters are isolated there")
def test_a_second_interpreter_does_no_harm():
    done = subprocess.run(
        [sys.executable, "-c", WITHIN],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | {"SHMRING_NAMESPACE": f"second-{os.getpid()}"},
    )
    lines = [f"rtpsynth.{n} works in the main interpreter only" for n in ("RtpServer", "RtpProc")]
    assert (done.stdout.splitlines(), done.stderr) == ([*lines, "0"], "")
    assert done.returncode == 0


def test_a_generator_is_not_copied():
    with pytest.raises(TypeError, match=r"cannot pickle 'rtpsynth\.RtpSynth\.RtpSynth' object"):
        pickle.dumps(RtpSynth(8000, 20))
