"""Addresses in both directions."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

import shmring
from shmring import _address


@pytest.mark.parametrize(
    "address",
    [
        ("127.0.0.1", 0),
        ("255.255.255.255", 65535),
        ("::1", 9000),
        ("2001:db8::5", 1),
        ("fe80::1%lo", 5),
    ],
)
def test_there_and_back(address):
    assert _address.unpack(_address.pack(address)) == address


@given(st.ip_addresses(), st.integers(0, 65535))
def test_every_address_there_and_back(host, port):
    there = _address.pack((str(host), port))
    back = _address.unpack(there)
    assert ipaddress.ip_address(back[0]) == host
    assert back[1] == port
    assert _address.pack(back) == there


def test_forms_of_ipv6():
    assert _address.pack(("fe80::1%1", 5)) == _address.pack(("fe80::1", 5, 0, 1))
    assert _address.unpack(_address.pack(("fe80::1%77777", 5))) == ("fe80::1%77777", 5)


def test_no_address():
    assert _address.unpack(bytes(_address.ADDRESS_BYTES)) is None


@pytest.mark.parametrize(
    ("address", "words"),
    [
        (("localhost", 1), "not a numeric address"),
        (("", 1), "not a numeric address"),
        (("1.2.3", 1), "not a numeric address"),
        (("1.2.3.4\0", 1), "not a numeric address"),
        (("::g", 1), "not a numeric address"),
        (("fe80::1%nosuchthing", 1), "no interface"),
        (("1.2.3.4", -1), "0 to 65535"),
        (("1.2.3.4", 65536), "0 to 65535"),
        (("1.2.3.4", True), "0 to 65535"),
    ],
)
def test_what_is_refused(address, words):
    with pytest.raises(shmring.errors.BadAddress, match=f"remote: .*{words}"):
        _address.pack(address, "remote")


@pytest.mark.parametrize("address", ["1.2.3.4:5", ("1.2.3.4",), (5, "1.2.3.4"), None, 7])
def test_what_is_no_pair(address):
    with pytest.raises(TypeError, match="must be a pair"):
        _address.pack(address)
