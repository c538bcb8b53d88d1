"""Each option with a row: its words and limits in Python and in C, and its way back."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from shmring import _options, errors
from shmring._option_rows import OPTIONS, RTP_OPTIONS
from shmring._ring import ffi, lib
from shmring.rtp import options as rtp_options


def config_with(option: str, value: Any) -> Any:
    return _options.prepare("ctl", "ns", "pool", "balanced", {option: value}).config


def good_values(option: str) -> list[Any]:
    row = OPTIONS[option]
    if row.words is not None:
        return list(row.words)
    if row.switch:
        return [False, True]
    if row.ratio:
        return [1.5, float(row.ratio)]
    return [row.low, row.high]


def wrong_values(option: str) -> list[Any]:
    row = OPTIONS[option]
    if row.words is not None:
        return ["no such word", 7, None]
    if row.switch:
        return [1, "yes", None]
    return [1, row.ratio + 1] if row.ratio else [row.low - 1, row.high + 1]


# `connect` needs an address, and the kernel may not know TAI.
SETTABLE = [
    (option, value)
    for option in OPTIONS
    for value in good_values(option)
    if (option, value) not in (("connect", True), ("clock", "tai"))
]


@pytest.mark.parametrize(("option", "value"), SETTABLE)
def test_what_is_given_comes_back(option: str, value: Any) -> None:
    assert _options.read_value(option, config_with(option, value)) == value


@pytest.mark.parametrize("option", OPTIONS)
def test_other_values_are_refused(option: str) -> None:
    for value in wrong_values(option):
        with pytest.raises((errors.BadConfig, TypeError), match=f"^{option} "):
            _options.check_value(option, option, value)


def numbers_beyond(option: str) -> list[float]:
    """Numbers just outside of the limits that the field of the option can hold."""
    row, config = OPTIONS[option], ffi.new("shm_config_t *")
    if row.ratio:
        return [1.0, row.ratio + 1.0, float("nan")]
    known = list(row.words.values()) if row.words else [0, 1] if row.switch else [row.low, row.high]
    ends = [min(known) - 1, max(known) + 1]
    if row.unset is not None:
        ends[0] = min(row.unset, row.low) - 1
    found: list[float] = []
    for number in ends:
        try:
            setattr(config, row.field, number)
        except OverflowError:
            continue
        found.append(number)
    return found


@pytest.mark.parametrize("option", OPTIONS)
def test_the_worker_refuses_the_same_and_the_way_back_does_not_believe_it(option: str) -> None:
    for number in numbers_beyond(option):
        config = ffi.new("shm_config_t *")
        lib.shm_config_init(config)
        for text in ("name", "name_space", "pool"):
            setattr(config, text, b"x")
        assert lib.shm_config_check(config) == 0
        setattr(config, OPTIONS[option].field, number)
        assert lib.shm_config_check(config) < 0
        with pytest.raises(OSError, match=f"its {option} is {number}: it must be "):
            _options.read_value(option, config)


@pytest.mark.parametrize("option", RTP_OPTIONS)
def test_numbers_of_rtp_have_the_same_limits_in_python_and_in_c(option: str) -> None:
    row = RTP_OPTIONS[option]
    for wrong in (row.low - 1, row.high + 1):
        with pytest.raises(errors.BadConfig, match=f"^{option} is {wrong}; .*{row.low} and "):
            rtp_options.check_value(option, option, wrong)
    config = ffi.new("shm_rtp_config_t *")
    config.config_bytes, config.clock_rate = ffi.sizeof("shm_rtp_config_t"), 8000
    config.samples_per_packet = 160
    for number, rc in ((0, 0), (row.high, 0), (row.high + 1, -errno.EINVAL)):
        try:
            setattr(config, row.field, number)
        except OverflowError:
            continue
        assert lib.shm_rtp_config_check(config) == rc
