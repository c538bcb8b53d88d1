"""Words of `shmring udt`: addresses and rates."""

import argparse

import pytest

import shmring_cli
from shmring_copy import options


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("192.0.2.7", "192.0.2.7", 9000),
        ("192.0.2.7:1", "192.0.2.7", 1),
        ("host.example:65535", "host.example", 65535),
        (":9100", "0.0.0.0", 9100),
        ("[2001:db8::7]:9100", "2001:db8::7", 9100),
        ("[::1]", "::1", 9000),
        ("2001:db8::7", "2001:db8::7", 9000),
        ("127.0.0.1:0", "127.0.0.1", 0),
    ],
)
def test_addresses_are_as_people_write_them(text, host, port):
    assert options.address(text) == (host, port)


@pytest.mark.parametrize("text", ["", "host:port", "host:65536", "[::1", "[::1]x", "host:-1"])
def test_other_addresses_are_refused_with_an_example(text):
    with pytest.raises(ValueError, match="HOST:PORT"):
        options.address(text)


@pytest.mark.parametrize(
    ("text", "bps"),
    [("8", 8), ("500k", 500_000), ("80M", 80_000_000), ("1.5G", 1_500_000_000), ("1e6", 10**6)],
)
def test_rates_are_bits_per_second(text, bps):
    assert options.rate(text) == bps


@pytest.mark.parametrize("text", ["", "0", "-5M", "fast", "M", "inf", "nan", "1e30", "5000T"])
def test_other_rates_are_refused_with_an_example(text):
    with pytest.raises(argparse.ArgumentTypeError, match=r"or 1\.5G"):
        options.rate(text)


def test_a_patience_of_nothing_is_wrong_usage(capsys):
    with pytest.raises(SystemExit) as end:
        shmring_cli.main(["udt", "recv", "--patience", "0", "in"])
    assert end.value.code == 1
    assert "the patience is 0: use more than 0" in capsys.readouterr().err


def test_addresses_are_shown_as_they_are_written():
    assert options.show(("192.0.2.7", 9000)) == "192.0.2.7:9000"
    assert options.show(("::1", 9000)) == "[::1]:9000"
