"""`make test` keeps a test with a real worker for each engine, drop-in, command and fixture."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import pytest

from shmring_cli import COMMANDS

HERE = Path(__file__).parents[1]

ENGINES = {
    "udp": "system/test_pool.py::test_a_packet_crosses",
    "local": "system/local/test_delivery.py::test_two_processes",
    "cyclic": "system/cyclic/test_cyclic.py::test_the_newest_payload_is_sent_until_the_end",
    "netflux": "system/netflux/test_partners_real.py::test_values_go_both_ways",
    "proxy": "system/proxy/test_proxy.py::test_datagrams_of_any_length_pass",
    "rtp": "system/rtp/test_receiving.py::test_frames_as_they_were_sent",
    "mux": "system/test_rtpsynth_server.py::test_every_one_of_thousands_sends_and_receives",
    "udt": "system/udt/test_streams.py::test_much_data",
}
DROP_INS = {
    "rtudp": "contract/test_rtudp_socket.py::test_published_example",
    "udpcom": "contract/test_udpcom.py::test_exchange_by_position_and_by_name",
    "rtpsynth": "contract/rtpsynth_server/test_sending.py::test_whatever_bytes_takes_is_sent",
    "netflux": "system/netflux/dropin/test_dropin_main.py::test_two_exchange_their_data",
    "udt4": "contract/test_udt4_connected.py::test_connect_and_accept",
}
ACTING = "system/test_acting.py::test_hold_release_and_purge_take_patterns"
CLOCK = "system/stamp/test_cli_stamp.py::test_a_clock_and_a_reflector"
POOLS = "system/test_cli_pools.py"
PROGRAMS = {
    "demo": "system/test_cli_demo.py::test_every_packet_is_measured_and_answered",
    "up": f"{POOLS}::test_up_says_when_it_is_ready_and_serves_until_sigterm",
    "ls": f"{POOLS}::test_ls_shows_channels_and_workers_with_their_counters",
    "top": "unit/test_cli_help.py::test_top_is_rtstat",
    "end": "system/test_acting.py::test_end_ends_the_channel_of_another_program",
    "hold": ACTING,
    "release": ACTING,
    "purge": ACTING,
    "impair": "system/proxy/test_cli_impair.py::test_it_serves_until_it_is_stopped",
    "tap": "system/tap/test_faults.py::test_a_killed_tool_leaves_nothing_behind",
    "replay": "system/replay/test_cli_replay.py::test_a_report",
    "generate": "system/traffic/test_cli_generate.py::test_a_report",
    "reflect": CLOCK,
    "clock": CLOCK,
    "measure": "system/stamp/test_cli_measure.py::test_json_and_the_limit_of_loss",
    "udt": "system/test_cli_udt.py::test_a_file_arrives_proved_with_its_time_and_permissions",
    "bench": "system/bench/test_cycles_and_ticks.py::test_cycles_have_their_rows",
    "plot": "unit/recording/test_cli_plot.py::test_json_gives_the_figures_without_a_picture",
    "doctor": "system/test_cli_doctor.py::test_json_and_exit_code_agree",
    "gc": f"{POOLS}::test_ls_calls_a_dead_pool_stale_and_gc_removes_it",
    "help": "unit/test_cli_help.py::test_a_page_is_shown_as_it_is",
    "completion": "contract/test_shell.py::test_bash_completes",
    "cflags": "system/client/test_c_client.py::test_packets_go_both_ways",
    "rtstat": "system/rtstat/test_cli.py::test_json",
}
FIXTURES = {
    "shmring_namespace": "system/test_named_pool.py::test_a_pool_that_does_not_run",
    "shmring_pool": "system/test_pool.py::test_a_name_is_taken_once",
    "shmring_open": "system/test_pool.py::test_a_packet_crosses",
    "shmring_replay": "system/replay/test_replay.py::test_a_loop_has_no_seam",
    "shmring_netns": "unit/test_pytest_plugin.py::test_two_hosts_have_a_link_of_their_own",
    "plc_sim": "unit/netflux/partners/test_simulated.py::test_power",
}


@functools.cache
def functions(file: str) -> dict[str, ast.FunctionDef]:
    tree = ast.parse((HERE / file).read_text(encoding="utf-8"))
    marks = [ast.unparse(node) for node in tree.body if isinstance(node, ast.Assign)]
    assert not any("pytestmark" in mark and "mark.check" in mark for mark in marks), file
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize(
    "test", sorted({*ENGINES.values(), *DROP_INS.values(), *PROGRAMS.values(), *FIXTURES.values()})
)
def test_a_proof_is_there_and_not_left_to_make_check(test: str) -> None:
    file, _, name = test.partition("::")
    function = functions(file)[name]
    assert not any("mark.check" in ast.unparse(mark) for mark in function.decorator_list)


def test_each_command_has_a_proof() -> None:
    assert PROGRAMS.keys() == {*(command.name for command in COMMANDS), "rtstat"}


def test_each_fixture_has_a_proof() -> None:
    from shmring import pytest_plugin

    kinds = {type(pytest.fixture(lambda: None))}
    fixtures = {name for name, made in vars(pytest_plugin).items() if type(made) in kinds}
    assert fixtures == FIXTURES.keys()
    for fixture, test in FIXTURES.items():
        file, _, name = test.partition("::")
        arguments = functions(file)[name].args.args
        assert fixture in {argument.arg for argument in arguments}, fixture
