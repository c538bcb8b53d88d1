"""`shmring bench` of datagrams and tools. The figures are not judged."""

import pytest

pytestmark = pytest.mark.check


@pytest.mark.shm_mb(200)
@pytest.mark.parametrize(
    ("name", "systems"),
    [
        ("timed", {"shmring", "floor", "rtudp-dropin", "time.sleep", "asyncio"}),
        ("bulk", {"shmring", "floor", "socket"}),
        ("rtt", {"shmring", "floor", "socket", "aio.recv", "recv", "asyncio"}),
        ("flood", {"quiet", "beside", "flooded"}),
        ("ipc", {"shmring", "floor"}),
    ],
)
def test_each_row_is_one_figure_of_one_system(bench, rows_of, name, systems):
    rows = rows_of(bench(name, "--json"), name)
    assert systems <= {row["system"] for row in rows}


@pytest.mark.needs("netns")
@pytest.mark.shm_mb(200)
def test_video_streams_are_judged_beside_the_limits(bench, rows_of):
    rows = rows_of(bench("pacing", "720p50-narrow", "--json"), "pacing")
    found = {(row["system"], row["metric"]) for row in rows}
    models = {"c_peak", "vrx_min", "vrx_peak"}
    systems = ("shmring", "shmring-rtp", "burst", "target")
    assert {(system, metric) for system in systems for metric in models} <= found


@pytest.mark.needs("netns")
@pytest.mark.shm_mb(200)
def test_captures_are_played_over_veth(bench, rows_of):
    rows = rows_of(bench("replay", "--json"), "replay")
    found = {(row["case"], row["system"]) for row in rows}
    cases = ("poisson-100kpps", "full-64B", "full-1400B")
    assert {(case, system) for case in cases for system in ("shmring", "target")} <= found
    assert ("poisson-100kpps", "floor") in found
    goals = {row["metric"]: row["value"] for row in rows if row["system"] == "target"}
    gains = {"gap_p50_gain": 800.0, "gap_p99_gain": 200.0}
    assert not gains.keys() & goals.keys() or gains.items() <= goals.items()
    assert "drift-10min" not in {row["case"] for row in rows}
    sent = {"shmring", "floor"}
    missing = [row for row in rows if row["metric"] == "missing" and row["system"] in sent]
    assert all(row["value"] == 0 for row in missing if row["case"] == "poisson-100kpps")


@pytest.mark.needs("netns")
@pytest.mark.shm_mb(200)
def test_probes_are_measured_beside_bare_c(bench, rows_of):
    rows = rows_of(bench("measure", "one-way", "--json"), "measure")
    found = {(row["system"], row["metric"]) for row in rows}
    assert {(name, metric) for name in ("shmring", "floor") for metric in ("min", "p50")} <= found
    assert ("target", "p50_ratio") in found
    assert all(row["value"] > 0 for row in rows if row["unit"] == "ns")


def test_people_get_the_ratio_to_bare_c(bench):
    text = bench("rtt")
    assert "floor" in text
    assert " x)" in text


@pytest.mark.parametrize("words", [("--runs", "0"), ("--duration", "0"), ("--duration", "soon")])
def test_nonsense_is_wrong_usage(command, words):
    done = command("rtt", *words)
    assert done.returncode == 1
    assert words[0] in done.stderr


@pytest.mark.shm_mb(400)
def test_tools_are_measured_beside_what_they_look_at(bench, rows_of):
    rows = rows_of(bench("observe", "--json"), "observe")
    found = {(row["case"], row["system"]) for row in rows}
    systems = ("unwatched", "watched", "watched-beside", "tapped", "tapped-beside")
    assert {("10kpps-tools", s) for s in systems} <= found
    assert {("1000-channels", "rtstat-plain"), ("json-100-channels", "rtstat")} <= found


@pytest.mark.needs("netns")
def test_the_truth_about_a_clock_is_within_its_bound(bench, rows_of):
    rows = rows_of(bench("clock", "drift-10ppm", "--json"), "clock")
    found = {(row["system"], row["metric"]): row["value"] for row in rows}
    assert found["shmring", "outside"] == 0
    assert found["shmring", "exchanges"] > 0
    assert found["target", "error_p99"] == 10_000
