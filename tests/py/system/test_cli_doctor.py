"""`shmring doctor` on this machine: as a command, without privileges, in a namespace of its own."""

import functools
import json
import os
import pty
import re
import subprocess
import sys

import pytest
from kit import commands
from kit.commands import SHMRING

import shmring
import shmring_doctor as doctor
from rtworkers.examine import examine
from rtworkers.launch import worker_binary

COMMAND = [*SHMRING, "doctor"]
PATIENCE_S = 120
NOBODY = 65534


run = functools.partial(commands.run, COMMAND, code=None, timeout=PATIENCE_S)


def findings(done):
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_json_and_exit_code_agree():
    done = run("--json", "--quick", "--interface", "lo")
    found = findings(done)
    assert {tuple(finding) for finding in found} == {
        ("id", "group", "subject", "title", "status", "measured", "why", "fixes", "values")
    }
    statuses = {finding["status"] for finding in found}
    assert done.returncode == (5 if "unfit" in statuses else 3 if "limits" in statuses else 0)
    assert {finding["id"] for finding in found} == {check.id for check in doctor.CHECKS}
    for finding in found:
        assert finding["measured"]
        assert finding["why"]
        assert finding["status"] in ("ok", "hidden") or finding["fixes"], finding
    keys = [(finding["id"], finding["subject"]) for finding in found]
    assert len(set(keys)) == len(keys)


@pytest.mark.check
def test_it_measures_how_late_a_worker_wakes():
    core = max(os.sched_getaffinity(0))
    found = {f["id"]: f for f in findings(run("--json", "--cpus", str(core)))}
    wakeup = found["measure.wakeup"]
    assert wakeup["subject"] == f"cpu{core}"
    values = wakeup["values"]
    assert values["n"] == 2000
    assert 0 < values["p50_ns"] <= values["p99_ns"]
    assert values["policy"] in ("fifo", "other")
    assert found["measure.tick"]["values"]["on_p50_ns"] > 0


@pytest.mark.check
def test_the_text_is_grouped_and_plain():
    done = run("--quick", "--all")
    lines = done.stdout.splitlines()
    assert "without measuring" in lines[0]
    assert [line for line in lines if line in doctor.GROUPS] == list(doctor.GROUPS)
    assert "\x1b" not in done.stdout
    assert re.match(r"(fit|fit with limits|unfit): \d+ ok", lines[2])
    columns = {line.index("  ", 12) for line in lines if line.startswith("  ok      UDP GSO")}
    assert len(columns) == 1
    why = "The kernel's timestamp is the arrival of a packet."
    assert why in " ".join(done.stdout.split())
    assert len(done.stdout) > len(run("--quick").stdout)


@pytest.mark.check
def test_the_verdict_comes_first_then_at_most_three_findings():
    done = run("--quick", "--cpus", "4000")
    lines = done.stdout.splitlines()
    assert lines[2].startswith("unfit: ")
    assert re.fullmatch(r"fix (this|these [23]) first", lines[4])
    assert lines[5].startswith("  unfit ")
    shown = [line for line in lines if re.match(r"  (ok|limits|unfit|hidden) ", line)]
    assert 1 <= len(shown) <= 3
    assert not any(line.startswith("  ok ") for line in lines)
    assert re.fullmatch(r"\d+ more: shmring doctor --all", lines[-1])


@pytest.mark.check
def test_colours_on_a_terminal_only():
    def shown(**environment):
        ours, theirs = pty.openpty()
        with subprocess.Popen(
            [*COMMAND, "--quick", "--all"],
            stdout=theirs,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "TERM": "xterm", **environment},
        ) as process:
            os.close(theirs)
            parts = []
            while True:
                try:
                    part = os.read(ours, 4096)
                except OSError:
                    break  # the other end is closed
                if not part:
                    break
                parts.append(part)
            process.wait(PATIENCE_S)
        os.close(ours)
        return b"".join(parts)

    environment = {"NO_COLOR": ""}
    assert b"\x1b[32mok" in shown(**environment)
    assert b"\x1b[" not in shown(NO_COLOR="1")


@pytest.mark.check
@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--cpus", "one"], "give a list such as 2,3"),
        (["--cpus", ""], "give a list such as 2,3"),
        (["--cpus", "5000"], "not in 0 .. 4095"),
        (["--interface"], "expected one argument"),
        (["--what"], "unrecognized"),
    ],
)
def test_wrong_usage(words, text):
    done = run(*words)
    assert done.returncode == 1
    assert text in done.stderr
    assert done.stdout == ""


@pytest.mark.check
def test_it_looks_at_the_cores_of_running_workers(shmring_namespace):
    core = min(os.sched_getaffinity(0))
    with shmring.Pool(cpus=[core], policy="other") as pool:
        pool.open("ctl", local=("127.0.0.1", 0))
        cpus, why = doctor.choose_cpus()
    assert core in cpus
    assert "workers that run here" in why


@pytest.mark.check
@pytest.mark.needs("unprivileged")
@pytest.mark.program("setpriv")
def test_without_privileges_it_still_tells_all(tmp_path):
    # As that user sees it; the package may lie in a folder that is closed to it.
    nobody = ["setpriv", f"--reuid={NOBODY}", "--clear-groups"]
    python = [*nobody, sys.executable, "-P", "-c", "import shmring.pool"]
    probe = subprocess.run(python, check=False, capture_output=True)
    if probe.returncode != 0 or not os.access(worker_binary(), os.X_OK):
        pytest.skip("the package is closed to other users")
    home = os.environ | {"HOME": str(tmp_path)}
    words = [*nobody, *COMMAND, "--json", "--interface", "lo"]
    done = commands.run(words, code=None, timeout=PATIENCE_S, env=home)
    found = {f["id"]: f for f in findings(done)}
    assert {check.id for check in doctor.CHECKS} <= set(found)
    realtime, wakeup = found["privileges.realtime"], found["measure.wakeup"]
    if realtime["status"] == "unfit":
        assert done.returncode == 5
        assert wakeup["values"]["policy"] == "other"
        assert "as an ordinary process" in wakeup["measured"]
        assert any("rtprio" in fix["text"] for fix in realtime["fixes"])


# --- a network namespace of its own ---------------------------------------------------------------

IN_NAMESPACE = """\
import json, subprocess, sys
from shmring_doctor import container, interfaces
from rtworkers.examine import examine

def quiet(*words):
    return subprocess.run(words, capture_output=True, text=True).returncode == 0

assert quiet("ip", "link", "set", "lo", "up")
assert quiet("ip", "link", "add", "t0", "mtu", "1400", "type", "veth", "peer", "name", "t1")
assert quiet("ip", "link", "set", "t0", "up") and quiet("ip", "link", "set", "t1", "up")
for wanted in sys.argv[1:]:
    made = quiet("tc", "qdisc", "replace", "dev", "t0", "root", *wanted.split())
    (worker,) = examine([None])
    facts = interfaces.gather(["t0"], worker, container.Surroundings())
    found = {f.id: f.to_dict() for f in interfaces.judge(facts)}
    everything = interfaces.gather([], worker, container.Surroundings())
    lo = interfaces.judge(interfaces.gather(["lo"], worker, container.Surroundings()))
    print(json.dumps({
        "wanted": wanted, "made": made, "found": found, "lo": [f.status for f in lo],
        "features": {name: f.works for name, f in worker.features.items()},
        "default": sorted(f.subject for f in interfaces.judge(everything) if f.id.endswith("mtu")),
    }))
"""

QDISCS = {
    "fq": ("ok", "monotonic"),
    "etf clockid CLOCK_TAI delta 300000": ("limits", "tai"),  # where nobody set the TAI offset
    "pfifo limit 100": ("limits", None),
    "prio": ("limits", None),
}


@pytest.mark.check
@pytest.mark.needs("netns")
@pytest.mark.parametrize(
    "wanted",
    [pytest.param(words, marks=pytest.mark.needs(f"qdisc {words.split()[0]}")) for words in QDISCS],
)
def test_queueing_disciplines_of_a_namespace(wanted):
    words = ["unshare", "--net", sys.executable, "-P", "-c", IN_NAMESPACE, wanted]
    seen = json.loads(commands.run(words, timeout=PATIENCE_S).stdout)
    assert seen["default"] == ["t0", "t1"]
    assert seen["lo"] == ["ok"] * 6
    assert seen["features"]["gso"]
    link, mtu = seen["found"]["interface.link"], seen["found"]["interface.mtu"]
    assert (link["status"], link["values"]["kind"]) == ("hidden", "veth")
    assert mtu["values"]["mtu_bytes"] == 1400
    assert seen["made"]
    status, clock = QDISCS[wanted]
    qdisc = seen["found"]["interface.qdisc"]
    assert qdisc["values"]["root"] == wanted.split()[0]
    assert qdisc["values"]["launch_clock"] == clock
    if clock == "tai" and tai_offset_s() != 0:
        status = "ok"
    assert qdisc["status"] == status


def tai_offset_s():
    (found,) = examine([None])
    return found.clock.tai_offset_s


# --- a container, made of namespaces --------------------------------------------------------------

AS_A_CONTAINER = """\
mount -t tmpfs -o size=64m tmpfs /dev/shm && mount -t sysfs -o ro sysfs /sys && ip link set lo up \\
    && exec "$@"
"""


@pytest.mark.check
@pytest.mark.needs("userns", "netns")
def test_in_a_container_it_says_what_that_hides():
    spaces = "--user --map-root-user --mount --cgroup --pid --fork --net --mount-proc"
    words = ["unshare", *spaces.split(), "sh", "-c", AS_A_CONTAINER, "sh", *COMMAND]
    done = commands.run(words, "--json", "--quick", code=None, timeout=PATIENCE_S)
    found = {f["id"]: f for f in findings(done)}
    assert found["container.kind"]["status"] == "hidden"
    assert found["container.settings"]["values"]["read_only"] == ["/sys"]
    assert found["container.cgroup"]["status"] == "hidden"
    assert found["container.users"]["status"] == "limits"
    assert found["memory.shm"]["status"] == "limits"
    assert found["memory.shm"]["values"]["size_bytes"] == 64 << 20
    assert found["network.gso"]["status"] == "ok"
    assert "loopback" in found["interface.link"]["measured"]
    realtime = found["privileges.realtime"]
    if realtime["status"] == "unfit":
        assert "user namespace" in realtime["measured"]
        assert done.returncode == 5
