"""Reading a machine's files, and lists of cores."""

import gzip

import pytest

from shmring_doctor.host import cores, format_cpus, parse_cpus


@pytest.mark.parametrize(
    ("text", "cpus"),
    [
        ("0", {0}),
        ("0-3,6\n", {0, 1, 2, 3, 6}),
        ("", set()),
        ("(null)", set()),
        ("3-", None),
        ("a", None),
        ("1,,2", None),
    ],
)
def test_lists_of_cores(text, cpus):
    assert parse_cpus(text) == (None if cpus is None else frozenset(cpus))


def test_lists_of_cores_are_written_as_they_are_read():
    assert format_cpus({0, 1, 2, 6, 8, 9}) == "0-2,6,8-9"
    assert (cores([4]), cores([4, 5])) == ("core 4", "cores 4-5")


def test_what_is_not_there_is_none(machine):
    host = machine({"/proc/a": "12\n", "/proc/word": "twelve"})
    assert host.number("/proc/a") == 12
    assert host.number("/proc/word") is None
    assert host.read("/proc/b") is None
    assert host.names("/nowhere") == []
    assert host.kernel_config() is None
    assert host.boot_words() is None
    assert host.cgroup_path("") is None


def test_the_kernels_configuration_from_either_place(machine):
    packed = machine({"/proc/config.gz": gzip.compress(b"CONFIG_HZ=250\n# CONFIG_X is not set\n")})
    assert packed.kernel_config() == {"HZ": "250"}


def test_the_kernels_configuration_in_boot(machine):
    host = machine(
        {
            "/proc/sys/kernel/osrelease": "6.1.0-13-amd64\n",
            "/boot/config-6.1.0-13-amd64": "CONFIG_PREEMPT=y\n",
        }
    )
    assert host.kernel_config() == {"PREEMPT": "y"}


def test_groups_of_both_versions(machine):
    host = machine(
        {
            "/proc/self/cgroup": "3:cpuset:/\n1:cpu,cpuacct:/plant\n0::/system.slice/plc.service\n",
            "/proc/self/mounts": (
                "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n"
                "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu,cpuacct 0 0\n"
                "cgroup /sys/fs/cgroup/cpuset cgroup rw,cpuset 0 0\n"
            ),
            "/sys/fs/cgroup/cpu/plant/cpu.shares": "1024",
            "/sys/fs/cgroup/cpuset/cpuset.cpus": "0-3",
            # As in a container that was given the host's paths: only the mount itself is there.
            "/sys/fs/cgroup/unified/cgroup.procs": "",
        }
    )
    assert host.cgroup_path("cpu") == "/sys/fs/cgroup/cpu/plant"
    assert host.cgroup_path("cpuset") == "/sys/fs/cgroup/cpuset"
    assert host.cgroup_path("") == "/sys/fs/cgroup/unified"
    assert host.cgroup_path("memory") is None
