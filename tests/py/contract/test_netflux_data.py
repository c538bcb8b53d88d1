"""The payload of netflux: its own record, and classes in its place."""

import dataclasses
import struct
from dataclasses import dataclass

import pytest

from netflux import NetfluxData, NetfluxMain
from shmring.netflux.records import INT, REAL, Codec, RecordError


@dataclass
class Axis:
    position: REAL = 0.5
    mode: INT = 3


class Raw:
    """What a user of the original puts in the place of NetfluxData."""

    def __init__(self, text=b"none"):
        self.text = text

    def to_bytes(self):
        return self.text

    @classmethod
    def from_bytes(cls, data):
        return cls(data[:4])

    @staticmethod
    def get_size():
        return 4


def test_fields_and_defaults():
    assert dataclasses.asdict(NetfluxData()) == {
        "value1": 0.0,
        "value2": 0.0,
        "value3": 0,
        "value4": 0,
        "flags": 0,
    }
    assert NetfluxData.get_size() == 20


def test_bytes():
    data = NetfluxData(1.5, -2.0, 7, 2**32 - 1, 0x0102)
    assert data.to_bytes() == struct.pack("<ffIII", 1.5, -2.0, 7, 2**32 - 1, 0x0102)
    assert NetfluxData.from_bytes(data.to_bytes()) == data


def test_short_is_filled_up_and_long_is_cut():
    whole = NetfluxData(1.5, 0.0, 7, 8, 9).to_bytes()
    assert NetfluxData.from_bytes(b"") == NetfluxData()
    assert NetfluxData.from_bytes(whole[:12]) == NetfluxData(1.5, 0.0, 7)
    assert NetfluxData.from_bytes(whole + b"more") == NetfluxData(1.5, 0.0, 7, 8, 9)
    assert NetfluxData.from_bytes(memoryview(whole)) == NetfluxData(1.5, 0.0, 7, 8, 9)


@pytest.mark.parametrize(
    ("field", "value"),
    [("value3", -1), ("value4", 2**32), ("flags", 1.5), ("value1", 3.5e38), ("value2", "x")],
)
def test_what_does_not_fit_is_named(field, value):
    error = OverflowError if field == "value1" else struct.error
    with pytest.raises(error, match=rf"^{field} is "):
        NetfluxData(**{field: value}).to_bytes()


@pytest.mark.parametrize(
    ("data_class", "size", "kind"),
    [
        (NetfluxData, 20, NetfluxData),
        (Raw, 4, Raw),
        (Axis, 8, Axis),
        (Codec(Axis, order="big"), 6, Axis),
    ],
)
def test_classes_that_main_takes(data_class, size, kind):
    main = NetfluxMain(data_class=data_class)
    assert type(main.data_send) is type(main.data_recv) is kind
    assert (main.receiver.data_size, main.sender.data_size) == (size, size)


def test_another_class_for_what_is_received():
    main = NetfluxMain(data_class=Axis, recv_data_class=Codec(Axis, order="big"))
    main.data_send.mode = 258
    assert main.sender.data_provider() == struct.pack("<fhxx", 0.5, 258)
    assert main.data_recv == Axis()


@pytest.mark.parametrize("wrong", [int, object(), "Axis", None])
def test_classes_that_main_does_not_take(wrong):
    with pytest.raises(TypeError, match="netflux"):
        NetfluxMain(data_class=wrong)


def test_a_dataclass_without_sizes_names_its_field():
    @dataclass
    class Vague:
        number: int = 0

    with pytest.raises(RecordError, match="number"):
        NetfluxMain(data_class=Vague)


def test_setting_fields():
    main = NetfluxMain()
    main.set_send_data(value1=2.5, flags=3, nothing=1)
    assert main.data_send == NetfluxData(value1=2.5, flags=3)
    assert not hasattr(main.data_send, "nothing")
    main.set_send_data(value3=-1)
    assert main.data_send.value3 == -1


def test_copies_of_what_was_received():
    main = NetfluxMain()
    copy = main.get_recv_data()
    assert copy == main.data_recv
    assert copy is not main.data_recv
    copy.value1 = 5.0
    assert main.data_recv.value1 == 0.0
