"""The network's limits, and what a worker says about UDP."""

import dataclasses

import pytest

from rtworkers.examine import Examination, Feature
from shmring_doctor import network
from shmring_doctor.finding import Status

CORE = "/proc/sys/net/core"
FIT = {
    f"{CORE}/rmem_max": "8388608\n",
    f"{CORE}/wmem_max": "8388608\n",
    f"{CORE}/netdev_budget": "300\n",
    f"{CORE}/netdev_budget_usecs": "8000\n",
    f"{CORE}/netdev_max_backlog": "1000\n",
    "/proc/net/softnet_stat": "000000ff 00000000 00000003 0\n00000010 00000000 00000001 0\n",
}


@pytest.fixture
def judged(machine, by_id, fit_worker):
    def judge(changes=(), examination=fit_worker):
        files = {name: text for name, text in {**FIT, **dict(changes)}.items() if text is not None}
        return by_id(network.judge(network.gather(machine(files), examination)))

    return judge


def without_net_admin(examination):
    refused = Feature("buffers", False, "became 425984")
    return dataclasses.replace(examination, features={**examination.features, "buffers": refused})


def test_a_fit_network(judged):
    found = judged()
    assert {name: f.status for name, f in found.items()} == {
        check.id: Status.OK for check in network.CHECKS
    }
    assert found["network.netdev_budget"].values["squeezed"] == 4


@pytest.mark.parametrize("name", ["rmem_max", "wmem_max"])
def test_small_buffers(judged, fit_worker, name):
    small = {f"{CORE}/{name}": "212992\n"}
    assert judged(small)[f"network.{name}"].status is Status.OK  # CAP_NET_ADMIN goes beyond
    finding = judged(small, without_net_admin(fit_worker))[f"network.{name}"]
    assert finding.status is Status.LIMITS
    assert [fix.text for fix in finding.fixes] == [
        f"sudo sysctl -w net.core.{name}=4194304",
        f"/etc/sysctl.d/90-shmring.conf: net.core.{name} = 4194304",
    ]


def test_small_budgets_and_drops(judged):
    found = judged(
        {
            f"{CORE}/netdev_budget": "64\n",
            f"{CORE}/netdev_budget_usecs": "1000\n",
            "/proc/net/softnet_stat": "000000ff 0000000a 00000000 0\n",
        }
    )
    budget, backlog = found["network.netdev_budget"], found["network.netdev_backlog"]
    assert (budget.status, backlog.status) == (Status.LIMITS, Status.LIMITS)
    assert "10 dropped" in backlog.measured
    assert "sudo sysctl -w net.core.netdev_budget=300" in [m.text for m in budget.fixes]


def test_what_network_namespaces_hide(judged):
    found = judged(dict.fromkeys(FIT), Examination(error="gone"))
    assert {f.status for f in found.values()} == {Status.HIDDEN}


@pytest.mark.parametrize("name", ["gso", "gro", "rx_stamps", "tx_stamps", "ipv6"])
def test_features_that_do_not_work(judged, fit_worker, name):
    features = {**fit_worker.features, name: Feature(name, False, "the kernel did not do it")}
    finding = judged(examination=dataclasses.replace(fit_worker, features=features))
    assert finding[f"network.{name}"].status is Status.LIMITS
    assert "the kernel did not do it" in finding[f"network.{name}"].measured
    assert finding[f"network.{name}"].fixes
