"""The folder that takes what a transfer brings, and what there is to send."""

import hashlib
import os
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shmring_copy import files, plain
from shmring_copy.files import STAGING, Folder, match, open_source, scan
from shmring_copy.protocol import Entry, TransferError

DATA = random.Random(1).randbytes(3_000_000)


def nothing():
    pass


def digest(data):
    return hashlib.blake2b(data, digest_size=32).digest()


def part_of(root, entry):
    """Where the part of a file is in the only transfer."""
    (transfer,) = (root / STAGING).iterdir()
    return transfer / files._part_name(entry).decode()


def put(folder, entry, data, offset=0, index=0):
    folder.begin(index, entry, offset)
    folder.write(memoryview(data)[offset:])
    return folder.end(digest(data))


@pytest.fixture
def root(tmp_path):
    return tmp_path / "in"


@pytest.fixture
def folder(root):
    with Folder(root) as made:
        made.begin_transfer()
        yield made


def test_a_file_takes_its_name_when_it_is_proved(folder, root):
    entry = Entry(b"a", len(DATA), 1_000_000_007, 0o604)
    assert folder.look(0, entry, nothing) == []
    folder.begin(0, entry, 0)
    folder.write(memoryview(DATA))
    assert not (root / "a").exists()
    assert folder.end(digest(DATA))
    assert (root / "a").read_bytes() == DATA
    state = (root / "a").stat()
    assert (state.st_mtime_ns, state.st_mode & 0o777) == (1_000_000_007, 0o604)
    folder.end_transfer()
    folder.close()
    assert os.listdir(root) == ["a"]


def test_what_is_not_proved_never_takes_its_name(folder, root):
    entry = Entry(b"a", 3)
    folder.look(0, entry, nothing)
    folder.begin(0, entry, 0)
    folder.write(memoryview(b"abc"))
    assert not folder.end(digest(b"abd"))
    assert not part_of(root, entry).exists()
    assert not (root / "a").exists()


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(had=st.integers(0, len(DATA)), wrong=st.integers(-len(DATA), len(DATA) - 1))
def test_a_part_is_used_as_far_as_it_is_right(tmp_path_factory, had, wrong):
    """wrong: position of a wrong byte; negative: there is none."""
    path = tmp_path_factory.mktemp("t")
    source = path / "source"
    source.write_bytes(DATA)
    entry = Entry(b"a", len(DATA))
    part = bytearray(DATA[:had])
    if 0 <= wrong < had:
        part[wrong] ^= 0x80
    with Folder(path / "in") as folder:
        folder.begin_transfer()
        part_of(path / "in", entry).write_bytes(part)
        marks = folder.look(0, entry, nothing)
        assert [mark.offset for mark in marks][-1:] == ([had] if had else [])
        file = os.open(source, os.O_RDONLY)
        good, state = match(file, marks, nothing)
        os.close(file)
        assert state.digest() == digest(DATA[:good])
        if wrong < 0 or wrong >= had:
            assert good == had
        else:
            assert wrong - (1 << 20) < good <= wrong
        assert put(folder, entry, DATA, good)
    assert (path / "in" / "a").read_bytes() == DATA


def test_a_part_longer_than_the_file_is_cut(folder, root):
    entry = Entry(b"a", 10)
    part_of(root, entry).write_bytes(b"0123456789xyz")
    assert [mark.offset for mark in folder.look(0, entry, nothing)] == [10]
    assert put(folder, entry, b"0123456789", 10)
    assert (root / "a").read_bytes() == b"0123456789"


def test_a_file_that_is_there_is_proved_and_gets_its_time(root):
    root.mkdir()
    (root / "a").write_bytes(DATA)
    entry = Entry(b"a", len(DATA), 5)
    with Folder(root, update=True) as folder:
        folder.begin_transfer()
        (mark,) = folder.look(0, entry, nothing)
        assert mark.digest == digest(DATA)
        inode = (root / "a").stat().st_ino
        assert put(folder, entry, DATA, len(DATA))
    assert (root / "a").stat().st_ino == inode
    assert (root / "a").stat().st_mtime_ns == 5


def test_a_stranger_learns_nothing_of_what_is_there(root):
    """Whoever may guess what a file contains, a PIN perhaps, must not be told that he is right."""
    complete, part = Entry(b"pin", 4), Entry(b"part", 9)
    with Folder(root) as folder:
        token = folder.begin_transfer()
        folder.look(0, complete, nothing)
        assert put(folder, complete, b"1234")
        folder.look(1, part, nothing)
        folder.begin(1, part, 0)
        folder.write(memoryview(b"123456789"))
        folder.give_up(1)
        assert folder.begin_transfer(lambda known: False) != token
        assert folder.look(0, complete, nothing) == []
        assert folder.look(1, part, nothing) == []
    with Folder(root) as folder:
        assert folder.begin_transfer(lambda known: known == token) == token
        (mark,) = folder.look(0, complete, nothing)
        assert mark.digest == digest(b"1234")
        (mark,) = folder.look(1, part, nothing)
        assert mark.digest == digest(b"123456789")
        (root / "pin").write_bytes(b"5678")
        assert folder.look(0, complete, nothing) == []
        folder.end_transfer()
    assert sorted(os.listdir(root)) == ["pin"]


def test_what_a_peer_makes_has_no_more_permissions_than_other_new_files(folder, root):
    before = os.umask(0o027)
    try:
        with Folder(root.parent / "other") as strict:
            strict.begin_transfer()
            folder_entry = Entry(b"d", 0, 0, 0o777, is_folder=True)
            strict.make_folder(folder_entry)
            strict.look(0, Entry(b"d/a", 1, 0, 0o777), nothing)
            assert put(strict, Entry(b"d/a", 1, 0, 0o777), b"x")
            strict.finish_folder(folder_entry)
    finally:
        os.umask(before)
    for name in ("d", "d/a"):
        assert (root.parent / "other" / name).stat().st_mode & 0o777 == 0o750


def test_a_file_that_is_there_and_differs_is_replaced_at_the_end(folder, root):
    (root / "a").write_bytes(b"old")
    entry = Entry(b"a", 3)
    assert folder.look(0, entry, nothing) == []
    folder.begin(0, entry, 0)
    folder.write(memoryview(b"new"))
    assert (root / "a").read_bytes() == b"old"
    assert folder.end(digest(b"new"))
    assert (root / "a").read_bytes() == b"new"
    assert folder.look(0, Entry(b"a", 4), nothing) == []


def test_links_in_the_folder_lead_nowhere(folder, root, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "f").write_bytes(b"keep")
    (root / "d").symlink_to(outside)
    (root / "f").symlink_to(outside / "f")
    with pytest.raises(OSError, match="Not a directory"):
        folder.make_folder(Entry(b"d", is_folder=True))
    with pytest.raises(OSError, match="Not a directory"):
        folder.look(0, Entry(b"d/f", 4), nothing)
    with pytest.raises(OSError, match="symbolic links"):
        folder.look(0, Entry(b"f", 4), nothing)
    folder.anew(1)
    assert put(folder, Entry(b"f", 3), b"new", index=1)  # the link goes, not what it points to
    assert (outside / "f").read_bytes() == b"keep"


def test_what_else_has_the_name_is_left_alone(folder, root):
    (root / "d").mkdir()
    os.mkfifo(root / "fifo")
    for name in (b"d", b"fifo"):
        with pytest.raises(OSError, match=r"something else|Is a directory"):
            folder.look(0, Entry(name, 4), nothing)
    folder.anew(0)
    with pytest.raises(IsADirectoryError):
        put(folder, Entry(b"d", 3), b"new")


def test_the_staging_folder_is_nobodys_target(folder):
    with pytest.raises(PermissionError, match="another name"):
        folder.look(0, Entry(STAGING.encode() + b"/x"), nothing)
    with pytest.raises(PermissionError, match="another name"):
        folder.make_folder(Entry(STAGING.encode(), is_folder=True))


def test_two_receivers_do_not_share_a_folder(folder, root):
    with pytest.raises(BlockingIOError, match="another process"):
        Folder(root)
    folder.close()
    Folder(root).close()


def test_a_file_given_up_can_go_on_later(root):
    entry = Entry(b"a", len(DATA))
    with Folder(root) as folder:
        token = folder.begin_transfer()
        folder.look(0, entry, nothing)
        folder.begin(0, entry, 0)
        folder.write(memoryview(DATA)[:100])
        folder.give_up(0)
    with Folder(root) as folder:
        assert folder.begin_transfer(lambda known: known == token) == token
        (mark,) = folder.look(0, entry, nothing)
        assert mark.offset == 100
        assert put(folder, entry, DATA, 100)


def test_a_file_that_changed_between_two_attempts_is_known_in_the_third(root):
    changed, other = Entry(b"a", 3), Entry(b"b", 3)
    with Folder(root) as folder:
        token = folder.begin_transfer()
        folder.look(0, changed, nothing)
        assert put(folder, changed, b"old")
    with Folder(root) as folder:
        folder.begin_transfer(lambda known: known == token)
        folder.look(0, changed, nothing)
        folder.look(1, other, nothing)
        assert put(folder, changed, b"new")
        assert put(folder, other, b"two", index=1)
    with Folder(root) as folder:
        folder.begin_transfer(lambda known: known == token)
        (mark,) = folder.look(0, changed, nothing)
        assert mark.digest == digest(b"new")
        (mark,) = folder.look(1, other, nothing)
        assert mark.digest == digest(b"two")


def test_giving_up_another_file_leaves_the_one_that_is_coming(folder, root):
    """The next ones are looked at while one comes, and may turn out not to be possible."""
    (root / "b").mkdir(parents=True)
    coming, other = Entry(b"a", 6), Entry(b"b", 3)
    folder.look(0, coming, nothing)
    folder.begin(0, coming, 0)
    folder.write(memoryview(b"abc"))
    with pytest.raises(FileExistsError):
        folder.look(1, other, nothing)
    folder.give_up(1)
    folder.write(memoryview(b"def"))
    assert folder.end(digest(b"abcdef"))
    assert (root / "a").read_bytes() == b"abcdef"


def test_everything_there_is_to_send_is_found_in_order(tmp_path):
    (tmp_path / "t" / "b" / "c").mkdir(parents=True)
    (tmp_path / "t" / "a").write_bytes(b"xx")
    (tmp_path / "t" / "b" / "d").write_bytes(b"")
    (tmp_path / "t" / "link").symlink_to("a")
    os.mkfifo(tmp_path / "t" / "fifo")
    sources, left_out = scan([tmp_path / "t"])
    assert [source.entry.path for source in sources] == [b"t", b"t/a", b"t/b", b"t/b/c", b"t/b/d"]
    assert [source.entry.is_folder for source in sources] == [True, False, True, True, False]
    assert sources[1].entry.size == 2
    assert sorted(left_out) == [str(tmp_path / "t" / "fifo"), str(tmp_path / "t" / "link")]
    assert scan([tmp_path / "t" / "b" / ".."])[0][0].entry.path == b"t"
    assert scan([tmp_path / "t" / "link"])[0][0].entry.path == b"link"
    with pytest.raises(TransferError, match="same name"):
        scan([tmp_path / "t" / "a", tmp_path / "t" / "a"])
    with pytest.raises(TransferError, match="neither"):
        scan([tmp_path / "t" / "fifo"])


def test_folders_may_be_deeper_than_calls_can_be(tmp_path):
    depth = 1500
    here = os.getcwd()
    try:
        os.chdir(tmp_path)
        for _ in range(depth):
            os.mkdir("d")
            os.chdir("d")
        Path("end").write_bytes(b"x")
        os.chdir(tmp_path)
        sources, left_out = scan(["d"])
        assert left_out == []
        assert len(sources) == depth + 1
        assert sources[-1].entry.path == b"d/" * depth + b"end"
        for _ in range(depth):
            os.chdir("d")
        os.unlink("end")
        for _ in range(depth):
            os.chdir("..")
            os.rmdir("d")
    finally:
        os.chdir(here)


def test_a_link_that_took_the_place_of_a_file_is_not_followed(tmp_path):
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "a").write_bytes(b"mine")
    (tmp_path / "secret").write_bytes(b"not for you")
    (tmp_path / "named").symlink_to("secret")
    sources, _ = scan([tmp_path / "t", tmp_path / "named"])
    (tmp_path / "t" / "a").unlink()
    (tmp_path / "t" / "a").symlink_to("../secret")
    with pytest.raises(OSError, match="symbolic links"):
        open_source(sources[1])
    file = open_source(sources[2])
    assert os.read(file, 100) == b"not for you"
    os.close(file)


def test_what_vanishes_while_it_is_listed_is_not_there(tmp_path):
    top = tmp_path / "t"
    (top / "b").mkdir(parents=True)
    listing = files._scan_one(os.fsencode(top), b"t", top.stat(), [])
    assert next(listing).entry.path == b"t"
    (top / "b").rmdir()
    top.rmdir()
    assert list(listing) == []


@given(st.binary(max_size=4))
def test_a_length_of_libudts_program_is_bounded(head):
    head = head.ljust(4, b"\0")
    length = int.from_bytes(head, "little", signed=True)
    if 1 <= length <= plain.MAX_NAME:
        assert plain.name_length(head) == length
    else:
        with pytest.raises(TransferError):
            plain.name_length(head)


def test_a_size_of_libudts_program_is_bounded():
    assert plain.size_of(plain.SIZE.pack(7)) == 7
    assert plain.size_of(plain.SIZE.pack(plain.NO_FILE)) is None
    with pytest.raises(TransferError):
        plain.size_of(plain.SIZE.pack(2**62 + 1))


def test_requests_are_as_libudts_program_sends_them():
    assert plain.request(b"ab") == b"\x02\0\0\0ab"
    for name in (b"", b"x" * 1024, b"a\0b"):
        with pytest.raises(TransferError):
            plain.request(name)
