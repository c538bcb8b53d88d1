"""`shmring bench udt`: the rows it prints. The figures are not judged."""

import needs
import pytest

pytestmark = pytest.mark.check


@pytest.fixture(scope="session")
def peers_folder(tmp_path_factory):
    """Where programs over other libraries are built: once for all tests."""
    return str(tmp_path_factory.mktemp("peers"))


def test_streams_have_their_rows(command, rows_of, peers_folder):
    """Without a library its rows are missing, and it is said what to install."""
    cases = {"stream-mss1500", "to-libudt", "from-libudt", "100Mbit-100ms-1%", "10-streams"}
    words = ("--json", "--duration", "0.3", "--runs", "1", *cases)
    done = command("udt", *words, XDG_CACHE_HOME=peers_folder)
    assert done.returncode == 0, done.stderr
    rows = rows_of(done.stdout, "udt")
    measured = {(row["case"], row["system"]) for row in rows}
    for library in ("libudt", "libsrt"):
        if ("stream-mss1500", library) not in measured:
            text = " ".join(done.stderr.split())
            assert f"install {library}" in text or "install g++" in text
    for case in cases - {"to-libudt", "from-libudt"}:
        assert (case, "shmring") in measured
    assert ("stream-mss1500", "tcp") in measured
    rates = {row["system"]: row["value"] for row in rows if row["metric"] == "rate"}
    assert rates["shmring"] > 0
    needs.require("libudt", "libsrt")


def test_libraries_that_are_missing_are_named(command, tmp_path):
    words = ("to-libudt", "--duration", "0.2", "--runs", "1", "--json")
    done = command("udt", *words, XDG_CACHE_HOME=str(tmp_path), PATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n"
    assert "install g++ and libudt-dev" in " ".join(done.stderr.split())


def test_libraries_need_the_source_tree(command, rows_of, tmp_path):
    words = ("to-libudt", "stream-mss1500", "--duration", "0.2", "--runs", "1", "--json")
    done = command("udt", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    systems = {row["system"] for row in rows_of(done.stdout, "udt")}
    assert systems == {"shmring", "shmring-bbr", "tcp"}
    for library in ("libudt", "libsrt"):
        assert f"{library}: peer: needs the source tree" in " ".join(done.stderr.split())


@pytest.mark.needs("netns")
def test_a_stream_beside_tcp_has_its_rows_where_there_are_namespaces(command, rows_of):
    done = command("udt", "beside-tcp-cubic", "--duration", "0.2", "--runs", "1", "--json")
    assert done.returncode == 0, done.stderr
    systems = {row["system"] for row in rows_of(done.stdout, "udt")}
    if "tcp" not in systems:
        assert "no congestion control cubic" in " ".join(done.stderr.split())
        needs.skip("cubic")
    assert {"shmring", "shmring-bbr", "target"} <= systems


def test_memory_and_idleness_of_connections_have_their_rows(bench, rows_of):
    rows = rows_of(bench("udt", "--json", "idle-1000", "long-transfer"), "udt")
    figures = {
        (row["case"], row["metric"]): row["value"] for row in rows if row["system"] == "shmring"
    }
    assert 0 < figures["idle-1000", "memory_beside_rings"] < 1 << 20
    assert figures["long-transfer", "transferred"] > 0
    targets = {(row["case"], row["metric"]) for row in rows if row["system"] == "target"}
    assert targets == {
        ("idle-1000", "worker_cpu"),
        ("idle-1000", "memory_beside_rings"),
        ("long-transfer", "memory_growth"),
    }
