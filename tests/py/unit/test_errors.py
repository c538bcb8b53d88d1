"""Error classes: built-ins they derive from, and codes they stand for."""

import errno
import pickle

import pytest

import shmring
from shmring import _host
from shmring._check import check, error


@pytest.mark.parametrize(
    ("number", "kind", "builtin"),
    [
        (errno.EINVAL, shmring.errors.BadConfig, ValueError),
        (errno.EMSGSIZE, shmring.errors.PayloadTooLarge, ValueError),
        (errno.ENOENT, shmring.ChannelNotFound, FileNotFoundError),
        (errno.EEXIST, shmring.errors.ChannelExists, FileExistsError),
        (errno.EPIPE, shmring.ChannelClosed, BrokenPipeError),
        (errno.EPROTO, shmring.errors.LayoutMismatch, OSError),
        (errno.ENOBUFS, shmring.RingFull, BlockingIOError),
        (errno.ENOSPC, shmring.errors.NoSpace, OSError),
        (errno.EUSERS, shmring.errors.NoSpace, OSError),
        (errno.EACCES, shmring.errors.NoPermission, PermissionError),
        (errno.EADDRINUSE, shmring.errors.ShmringOSError, OSError),
    ],
)
def test_codes_become_the_fitting_class(number, kind, builtin):
    with pytest.raises(kind, match="what happened") as caught:
        check(-number, "what happened")
    assert isinstance(caught.value, builtin)
    assert isinstance(caught.value, shmring.ShmringError)
    if isinstance(caught.value, OSError):
        assert caught.value.errno == number


def test_counts_pass():
    assert check(0) == 0
    assert check(7, "unused") == 7


def test_a_code_without_text_is_explained():
    assert "Address already in use" in str(error(errno.EADDRINUSE, ""))


def test_timeouts_are_timeouts():
    assert issubclass(shmring.ReceiveTimeout, TimeoutError)
    assert issubclass(shmring.errors.SendTimeout, TimeoutError)
    assert issubclass(shmring.errors.SendTimeout, BlockingIOError)
    assert issubclass(shmring.errors.RealtimeWarning, RuntimeWarning)


def test_errors_survive_pickling():
    full = shmring.RingFull(errno.EAGAIN, "full")
    full.sent = 3
    copy = pickle.loads(pickle.dumps(full))
    assert (copy.errno, copy.sent, str(copy)) == (errno.EAGAIN, 3, str(full))


@pytest.mark.parametrize(
    ("file", "advice"),
    [
        (None, "enlarge /dev/shm"),
        ("/dev/shm", "enlarge /dev/shm"),
        ("/dev/shm/shmring:default:c:ctl", "enlarge /dev/shm"),
        ("/dev/shmring/lock", "set SHMRING_RUNTIME_DIR"),
        ("/run/shmring/default/x/ctl.new", "set SHMRING_RUNTIME_DIR"),
    ],
)
def test_what_helps_depends_on_which_file_system_is_full(file, advice):
    text = str(_host.from_os("pool", OSError(errno.ENOSPC, "No space left on device", file)))
    assert advice in text
    assert ("/dev/shm (mount" in text) is ("enlarge" in advice)
