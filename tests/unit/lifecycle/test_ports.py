"""Taken ports and the messages about them, with real sockets on free ports."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from serve_app.errors import BadConfig
from serve_app.lifecycle.ports import Owner, Port, TakenPort, find_taken_ports, required_ports
from serve_app.lifecycle.processes import ProcessId
from serve_app.lifecycle.run import Run
from serve_app.lifecycle.serve_file import ServeFile
from serve_app.lifecycle.up import describe_blockers

FILE = ServeFile(Path("/x/base.yaml"), "127.0.0.1", 8000, ("animals", "control"))
SERVICE = Port(8000, "127.0.0.1", "service", "http_options.port in /x/base.yaml")
DASHBOARD = Port(8265, "127.0.0.1", "Ray dashboard")
NGINX = Owner(17, "nginx", "nginx -g daemon off;")
OURS = Owner(18, "haproxy", "haproxy -db", home="/home/bob/.serve-app")


@pytest.mark.parametrize("listens_on", ["127.0.0.1", ""])
def test_a_taken_port_names_its_owner(listens_on: str) -> None:
    with socket.create_server((listens_on, 0)) as server:
        port = Port(server.getsockname()[1], "127.0.0.1", "service")
        [found] = find_taken_ports([port])
    assert found.owner is not None
    assert found.owner.pid == os.getpid()
    assert "python" in found.owner.command
    assert find_taken_ports([port]) == []


def test_a_port_on_another_address_is_free() -> None:
    with socket.create_server(("127.0.0.2", 0)) as server:
        assert find_taken_ports([Port(server.getsockname()[1], "127.0.0.1", "service")]) == []


def test_fixed_ports_are_required_and_some_are_configurable() -> None:
    environ = {"RAY_SERVE_HAPROXY_METRICS_PORT": "19101"}
    assert [port.number for port in required_ports(FILE, {})] == [8000, 8265, 8404, 9101, 8500]
    assert [port.number for port in required_ports(FILE, environ)] == [
        8000,
        8265,
        8404,
        19101,
        8500,
    ]


@pytest.mark.parametrize("number", ["abc", "", "0", "65536", "-1"])
def test_an_invalid_port_is_rejected_with_its_variable(number: str) -> None:
    with pytest.raises(BadConfig) as caught:
        required_ports(FILE, {"RAY_SERVE_HAPROXY_STATS_PORT": number})
    assert str(caught.value) == (
        f"RAY_SERVE_HAPROXY_STATS_PORT is {number!r}: expected a port, 1 .. 65535"
    )


def test_a_blocker_names_the_process_and_the_remedy() -> None:
    assert describe_blockers(None, [TakenPort(SERVICE, NGINX), TakenPort(DASHBOARD, None)]) == (
        "port 8000 (service) is taken by pid 17 (nginx): nginx -g daemon off;\n"
        "  end the process, or change http_options.port in /x/base.yaml\n"
        "port 8265 (Ray dashboard) is taken by a process of another user\n"
        "  end the process"
    )


def test_a_long_command_is_truncated() -> None:
    assert str(TakenPort(SERVICE, Owner(1, "java", "java " + "x" * 900))).endswith("xx …")


def test_a_port_of_another_home_names_its_stop_command() -> None:
    text = describe_blockers(None, [TakenPort(SERVICE, OURS)])
    assert text is not None
    assert "stop it with SERVE_APP_HOME=/home/bob/.serve-app" in text


def test_a_supervised_run_blocks_a_start(supervised_run: Run) -> None:
    text = describe_blockers(supervised_run, [])
    assert text is not None
    assert f"by pid {os.getpid()} from /x/base.yaml" in text


def test_a_killed_run_blocks_a_start(supervised_run: Run) -> None:
    killed = Run(**{**vars(supervised_run), "starter": ProcessId(os.getpid(), create_time=0.0)})
    text = describe_blockers(killed, [])
    assert text is not None
    assert "was killed and left processes" in text


def test_without_blockers_a_start_is_possible() -> None:
    assert describe_blockers(None, []) is None
