"""The protocol of transfers: two ends joined by a list of bytes, no sockets, no files."""

import contextlib
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shmring_copy import protocol
from shmring_copy.protocol import (
    DIGEST_BYTES,
    MAX_CHECKPOINTS,
    MAX_DATA,
    MAX_FRAME,
    MAX_WANTED,
    Checkpoint,
    Entry,
    Receiver,
    Sender,
    TransferError,
)

NAME = st.binary(min_size=1, max_size=12).filter(
    lambda name: b"/" not in name and b"\0" not in name and name not in (b".", b"..")
)
TIME = st.integers(-(2**63), 2**63 - 1)


@st.composite
def trees(draw):
    """Files with contents, by path, and folders before what is in them."""
    entries, contents, folders = [], {}, [b""]
    for name in draw(st.lists(NAME, unique=True, min_size=1, max_size=12)):
        parent = draw(st.sampled_from(folders))
        path = parent + b"/" + name if parent else name
        if draw(st.booleans()):
            folders.append(path)
            entries.append(Entry(path, 0, draw(TIME), draw(st.integers(0, 0o777)), True))
        else:
            data = draw(st.binary(max_size=300))
            contents[len(entries)] = data
            entries.append(Entry(path, len(data), draw(TIME), draw(st.integers(0, 0o777))))
    return entries, contents


def digest(data):
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).digest()


def pieces(data, draw):
    """The same bytes, cut somehow."""
    while data:
        size = draw(st.integers(1, len(data)))
        yield data[:size]
        data = data[size:]


def told(end, data):
    """What `feed` tells of some bytes, views copied."""
    return [
        bytes(event.view) if isinstance(event, protocol.Data) else event for event in end.feed(data)
    ]


def met(entries, secret=None):
    """A sender and a receiver that have proved to each other what they know."""
    sender, receiver = Sender(entries, secret), Receiver(secret=secret)
    told(sender, receiver.greeting())
    told(receiver, sender.greeting() + sender.proof())
    told(sender, receiver.token(TOKEN))
    return sender, receiver


def opened(entries):
    """Ends that have met and know what there is."""
    sender, receiver = met(entries)
    (manifest,) = told(receiver, b"".join(sender.listing()))
    assert manifest.entries == tuple(entries)
    return sender, receiver


TOKEN = b"t" * protocol.TOKEN_BYTES
ONE = [Entry(b"one", 10)]
TWO = [Entry(b"d", is_folder=True), Entry(b"d/one", 10), Entry(b"two", 3)]


# --- what is meant to happen ----------------------------------------------------------------------


@pytest.mark.check
@given(st.data(), trees())
def test_everything_arrives_however_the_bytes_are_cut(data, tree):
    entries, contents = tree
    sender, receiver = Sender(entries), Receiver()
    to_sender, to_receiver = receiver.greeting(), sender.greeting()
    arrived, wanted = {}, None
    finished = False
    while to_sender or to_receiver:
        answer = b""
        for piece in pieces(to_receiver, data.draw):
            for event in told(receiver, piece):
                match event:
                    case protocol.Proof():
                        assert not event.knows(TOKEN)
                        answer += receiver.token(TOKEN)
                    case protocol.Manifest():
                        assert event.entries == tuple(entries)
                        wanted = set(contents)
                        for index in wanted:
                            answer += receiver.want(index)
                    case protocol.Begin():
                        arrived[event.index] = b""
                        now = event.index
                    case bytes():
                        arrived[now] += event
                    case protocol.End():
                        assert event.digest == digest(arrived[event.index])
                        answer += receiver.result(event.index)
                        wanted.remove(event.index)
        if wanted is not None and not wanted and not finished:
            answer += receiver.done()
            finished = True
        to_sender, to_receiver = to_sender + answer, b""
        greeted = sender.peer is not None
        for piece in pieces(to_sender, data.draw):
            for event in told(sender, piece):
                if isinstance(event, protocol.Token):
                    to_receiver += b"".join(sender.listing())
                if isinstance(event, protocol.Want):
                    body = contents[event.index]
                    to_receiver += sender.begin(event.index, 0)
                    to_receiver += sender.data_head(len(body)) + body
                    to_receiver += sender.end(digest(body))
        if not greeted:
            to_receiver += sender.proof()
        to_sender = b""
    assert finished
    assert arrived == contents


def test_a_receiver_says_what_it_has_and_gets_the_rest():
    sender, receiver = opened(ONE)
    marks = [Checkpoint(4, digest(b"0123")), Checkpoint(8, digest(b"01234567"))]
    (want,) = told(sender, receiver.want(0, marks))
    assert want == protocol.Want(0, tuple(marks))
    rest = sender.begin(0, 4) + sender.data_head(6) + b"456789" + sender.end(digest(b"0123456789"))
    assert told(receiver, rest) == [
        protocol.Begin(0, 4),
        b"456789",
        protocol.End(0, digest(b"0123456789")),
    ]
    assert told(sender, receiver.result(0) + receiver.done()) == [
        protocol.Result(0, ""),
        protocol.Done(),
    ]


def test_a_file_that_cannot_be_read_may_be_told_at_any_point():
    sender, receiver = opened(TWO)
    told(sender, receiver.want(1) + receiver.want(2))
    assert told(receiver, sender.unreadable(1, "gone")) == [protocol.Unreadable(1, "gone")]
    part = sender.begin(2, 0) + sender.data_head(1) + b"x"
    assert told(receiver, part + sender.unreadable(2, "cut"))[-1] == protocol.Unreadable(2, "cut")
    assert receiver.may_want == MAX_WANTED
    assert told(sender, receiver.result(1, "a") + receiver.result(2, "b") + receiver.done())


def test_either_end_may_be_busy_or_give_up():
    for end in opened(ONE):
        assert told(end, protocol.busy()) == []
        assert told(end, protocol.abort("enough")) == [protocol.Abort("enough")]


def test_words_of_the_peer_are_harmless_and_short():
    _, receiver = opened(ONE)
    (event,) = told(receiver, protocol.abort("\x1b[2J" + "x" * 5000))
    assert event.text.startswith("\\x1b[2Jx")
    assert len(event.text) < 1100
    assert protocol.show(b"a\nb\xff\xe2\x80\xae") == "a\\nb\\xff\\u202e"


def test_a_long_list_comes_in_several_frames():
    entries = [Entry(b"%d" % i + b"x" * 200, i) for i in range(2000)]
    assert len(list(Sender(entries).listing())) > 3
    opened(entries)


@given(st.integers(0, 2**45))
def test_checkpoints_are_few_rising_and_reach_the_end(have):
    offsets = protocol.checkpoint_offsets(have)
    assert len(offsets) <= MAX_CHECKPOINTS
    assert offsets == sorted(set(offsets))
    assert all(offset > 0 for offset in offsets)
    if have:
        assert offsets[-1] == have


# --- what the peer must not do --------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [b"", b"/etc", b"..", b"a/../b", b"./a", b"a//b", b"a/", b"a\0b", b"x" * 256, b"a/" * 2048],
)
def test_paths_that_lead_elsewhere_are_refused(path):
    with pytest.raises(TransferError):
        protocol.check_path(path)


@pytest.mark.parametrize(
    "entries",
    [
        [],
        [Entry(b"a"), Entry(b"a")],
        [Entry(b"a/b")],
        [Entry(b"a"), Entry(b"a/b")],
        [Entry(b"a/b"), Entry(b"a", is_folder=True)],
        [Entry(b"a", 5, is_folder=True)],
        [Entry(b"a", 2**62 + 1)],
        [Entry(b"a", -1)],
    ],
)
def test_lists_that_cannot_be_made_are_refused(entries):
    with pytest.raises(TransferError):
        protocol.check_entries(entries)


def test_a_list_that_says_otherwise_at_its_end_is_refused():
    sender, receiver = met(ONE)
    entries, end = sender.listing()
    with pytest.raises(TransferError, match="does not match its final count"):
        told(receiver, entries + entries + end)


def test_a_list_without_end_is_refused_before_it_fills_the_memory(monkeypatch):
    monkeypatch.setattr(protocol, "MAX_ENTRIES", 1000)
    sender, receiver = met([Entry(b"%d" % i) for i in range(500)])
    entries, _ = sender.listing()
    told(receiver, entries + entries)
    with pytest.raises(TransferError, match="more than 1000"):
        told(receiver, entries)
    monkeypatch.setattr(protocol, "MAX_MANIFEST_BYTES", len(entries))
    _, receiver = met(ONE)
    told(receiver, entries)
    with pytest.raises(TransferError, match="longer than"):
        told(receiver, entries)


def test_other_programs_and_other_versions_are_told_apart():
    with pytest.raises(TransferError, match="--plain"):
        told(Receiver(), b"\x05\x00\x00\x00hello\x00\x00\x00")
    with pytest.raises(TransferError, match="versions 4 to 5"):
        told(Receiver(), protocol.MAGIC + b"\x00\x05\x00\x04")
    with pytest.raises(TransferError, match="update the older one"):
        told(Receiver(), protocol.MAGIC + b"\x00\x01\x00\x01")
    told(Receiver(), protocol.MAGIC + b"\x00\x09\x00\x01")


def test_a_receiver_tells_its_identity_before_it_learns_any_name():
    sender, receiver = Sender(ONE), Receiver(b"i" * 16)
    for piece in (receiver.greeting()[:20], receiver.greeting()[20:]):
        assert sender.peer is None
        told(sender, piece)
    assert sender.peer == b"i" * 16
    assert b"one" not in sender.greeting() + sender.proof()
    told(receiver, sender.greeting())
    assert receiver.peer == bytes(16)


def proof_of(sender, receiver, token=None):
    told(sender, receiver.greeting())
    (proof,) = told(receiver, sender.greeting() + sender.proof(token))
    return proof


def test_a_sender_proves_the_token_of_an_earlier_transfer():
    assert proof_of(Sender(ONE), Receiver(), TOKEN).knows(TOKEN)
    assert not proof_of(Sender(ONE), Receiver(), TOKEN).knows(bytes(16))
    assert not proof_of(Sender(ONE), Receiver()).knows(bytes(16))


def test_a_proof_is_of_use_in_one_connection_only():
    """Somebody in between who repeats it, or a receiver that uses it elsewhere, knows nothing."""
    sender = Sender(ONE)
    told(sender, Receiver().greeting())
    another = Receiver()
    (proof,) = told(another, sender.greeting() + sender.proof(TOKEN))
    assert not proof.knows(TOKEN)


@pytest.mark.parametrize(("here", "there"), [(b"a", b"b"), (b"a", None), (None, b"b")])
def test_both_ends_prove_the_secret(here, there):
    met(ONE, b"a")
    sender, receiver = Sender(ONE, here), Receiver(secret=there)
    told(sender, receiver.greeting())

    def prove():
        told(receiver, sender.greeting() + sender.proof())
        told(sender, receiver.token(TOKEN))

    with pytest.raises(TransferError, match="does not know the secret"):
        prove()


def test_nothing_comes_before_the_proof():
    sender, receiver = Sender(ONE), Receiver()
    told(sender, receiver.greeting())
    with pytest.raises(TransferError, match="before its proof"):
        told(receiver, sender.greeting() + b"".join(sender.listing()))
    with pytest.raises(TransferError, match="before it"):
        told(sender, receiver.want(0))
    sender, receiver = met(ONE)
    with pytest.raises(TransferError, match="twice"):
        told(sender, receiver.token(TOKEN))


@pytest.mark.parametrize(
    ("kind", "length"),
    [
        (protocol.Frame.ENTRIES, MAX_FRAME + 1),
        (protocol.Frame.DATA, MAX_DATA + 1),
        (protocol.Frame.WANT, 5),
        (99, 0),
    ],
)
def test_frames_that_are_too_long_or_unknown_are_refused_at_their_heads(kind, length):
    _, receiver = opened(ONE)
    with pytest.raises(TransferError):
        told(receiver, protocol._HEAD.pack(kind, length))


def test_a_sender_that_sends_what_was_not_asked_is_refused():
    sender, _ = opened(TWO)
    begin, data = sender.begin(1, 0), sender.data_head(4) + b"1234"
    end = sender.end(bytes(32))
    for asked, frames, text in (
        ([], begin, "out of order"),
        ([2], begin, "out of order"),
        ([1], begin + begin, "out of order"),
        ([1], sender.begin(1, 4), "wrong byte"),
        ([1], data, "outside of a file"),
        ([1], begin + end, "before its end"),
        ([1], end, "before its end"),
        ([1], begin + data * 3, "more bytes"),
        ([1], sender.unreadable(2, "x"), "not requested"),
        ([1], b"".join(sender.listing()), "second list"),
    ):
        _, receiver = opened(TWO)
        for index in asked:
            receiver.want(index)
        with pytest.raises(TransferError, match=text):
            told(receiver, frames)


def test_files_before_their_list_are_refused():
    sender, receiver = met(ONE)
    with pytest.raises(TransferError, match="before their list"):
        told(receiver, sender.begin(0, 0))
    _, receiver = met(ONE)
    with pytest.raises(TransferError):
        told(receiver, sender.data_head(1) + b"x")


def test_a_receiver_that_asks_what_cannot_be_is_refused():
    marks = [Checkpoint(offset, bytes(32)) for offset in (5, 5)]
    for frames, text in (
        (Receiver().want(3), "file 3 of 3"),
        (Receiver().want(0), "folder"),
        (Receiver().want(1, marks), "do not fit"),
        (Receiver().want(1, [Checkpoint(11, bytes(32))]), "do not fit"),
        (Receiver().want(1, [Checkpoint(0, bytes(32))]), "do not fit"),
        (Receiver().want(1)[:-1] + b"\x01", "must have"),
        (Receiver().result(1), "was not sent"),
        (Receiver().done(), "no result for 2"),
        (b"".join([Receiver().want(1)] * (MAX_WANTED + 1)), "at a time"),
    ):
        sender, _ = opened(TWO)
        with pytest.raises(TransferError, match=text):
            told(sender, frames)


@given(st.binary(max_size=400), st.booleans())
def test_any_bytes_are_understood_or_refused(junk, greeted):
    for end in opened(TWO) if greeted else (Sender(TWO), Receiver()):
        with contextlib.suppress(TransferError):
            told(end, junk)
        assert len(end._buffer) <= MAX_FRAME


@given(st.lists(st.tuples(st.sampled_from(list(protocol.Frame)), st.binary(max_size=80))))
def test_any_frames_are_understood_or_refused(frames):
    for end in opened(TWO):
        if isinstance(end, Receiver):
            end.want(1)
        with contextlib.suppress(TransferError):
            told(end, b"".join(protocol._frame(kind, body) for kind, body in frames))
