"""Every public name of the drop-in, called with what it does not want: as the original answers."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.check

MODULES = ("RtpSynth", "RtpJBuf", "RtpServer", "RtpProc", "RtpUtils", "env")

ASK = r"""
import importlib, inspect, re

ARGUMENTS = [(), (1,), ("a",), (None,), (b"ab",), (1, 2), (b"abcd", 2, 0), (1, 2, 3, 4)]
result = {}

def plain(text):  # addresses differ, and some of CPython's messages say which module's function
    text = re.sub(r"0x[0-9a-f]+", "0x", text)
    return re.sub(r"(\w+\.)+(\w+\(\) takes no keyword)", r"\2", text)

def tell(label, act):
    try:
        outcome = repr(act())
    except Exception as error:
        outcome = (type(error).__name__, [str(arg) for arg in error.args])
    result[label] = plain(str(outcome))

def is_harmful(label, args):
    return len(args) == 1 and label.endswith(("pkt_free", "_set_dealloc_counting"))

def tell_calls(label, function):
    for args in ARGUMENTS:
        if not is_harmful(label, args):
            tell(f"{label}{args}", lambda: function(*args))
        tell(f"{label}{args}, by name", lambda: function(*args, unknown=1))

def tell_class(label, cls):
    result[f"{label}: bases"] = [base.__name__ for base in cls.__mro__]
    if cls.__name__ == "RTPFrameType":  # of the original, it bears a module name by chance
        return
    tell(label, lambda: (cls, cls.__module__, cls.__qualname__))
    tell_calls(label, cls)
    tell(f"{label}: subclass", lambda: type("Sub", (cls,), {}))
    for name, value in vars(cls).items():
        if name[0] == "_" or not callable(getattr(cls, name)):
            continue
        if isinstance(value, staticmethod):
            tell_calls(f"{label}.{name}", getattr(cls, name))
        elif issubclass(cls, Exception) or cls.__name__[:7] in ("RtpServ", "RtpChan", "RtpProc"):
            tell(f"{label}.{name} unbound", lambda: getattr(cls, name)(1))
        else:
            tell_calls(f"{label}.{name}", getattr(cls.__new__(cls), name))

for module_name in given:
    module = importlib.import_module(f"rtpsynth.{module_name}")
    for name, value in vars(module).items():
        label = f"{module_name}.{name}"
        if name[:2] == "__":
            continue
        if isinstance(value, type):
            tell_class(label, value)
        elif callable(value):
            tell_calls(label, value)
        else:
            tell(label, lambda: value)
"""


@pytest.mark.usefixtures("shmring_namespace")
@pytest.mark.parametrize("version", ["peer_rtpsynth", "peer_rtpsynth_133"])
def test_every_public_name(request, version):
    ours, theirs = request.getfixturevalue(version).both(ASK, MODULES)
    assert len(theirs) > 400
    different = {
        label: (ours.get(label), theirs[label])
        for label in theirs
        if ours.get(label) != theirs[label]
    }
    assert different == {}
