"""Ports that are taken, and the words for it; with real sockets on ports that the system chose."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from serve_app.errors import BadConfig
from serve_app.lifecycle.ports import Owner, Port, TakenPort, needed, taken
from serve_app.lifecycle.processes import ProcessId
from serve_app.lifecycle.run import Run
from serve_app.lifecycle.serve_file import ServeFile
from serve_app.lifecycle.up import obstacle

FILE = ServeFile(Path("/x/base.yaml"), "127.0.0.1", 8000, ("animals", "control"))
SERVICE = Port(8000, "127.0.0.1", "service", "http_options.port in /x/base.yaml")
DASHBOARD = Port(8265, "127.0.0.1", "Ray dashboard")
NGINX = Owner(17, "nginx", "nginx -g daemon off;")
OURS = Owner(18, "haproxy", "haproxy -db", home="/home/bob/.serve-app")


@pytest.mark.parametrize("listens_on", ["127.0.0.1", ""])
def test_a_taken_port_names_its_owner(listens_on: str) -> None:
    with socket.create_server((listens_on, 0)) as server:
        port = Port(server.getsockname()[1], "127.0.0.1", "service")
        [found] = taken([port])
    assert found.owner is not None
    assert found.owner.pid == os.getpid()
    assert "python" in found.owner.command
    assert taken([port]) == []


def test_a_port_on_another_address_is_not_in_the_way() -> None:
    with socket.create_server(("127.0.0.2", 0)) as server:
        assert taken([Port(server.getsockname()[1], "127.0.0.1", "service")]) == []


def test_all_fixed_ports_are_needed_and_the_user_may_move_some() -> None:
    moved = {"RAY_SERVE_HAPROXY_METRICS_PORT": "19101"}
    assert [port.number for port in needed(FILE, {})] == [8000, 8265, 8404, 9101, 8500]
    assert [port.number for port in needed(FILE, moved)] == [8000, 8265, 8404, 19101, 8500]


@pytest.mark.parametrize("number", ["abc", "", "0", "65536", "-1"])
def test_what_is_no_port_is_rejected_by_the_name_of_its_variable(number: str) -> None:
    with pytest.raises(BadConfig) as caught:
        needed(FILE, {"RAY_SERVE_HAPROXY_STATS_PORT": number})
    assert str(caught.value) == (
        f"RAY_SERVE_HAPROXY_STATS_PORT is {number!r}: expected a port, 1 .. 65535"
    )


def test_an_owner_is_named_with_its_command_and_the_way_out() -> None:
    assert obstacle(None, [TakenPort(SERVICE, NGINX), TakenPort(DASHBOARD, None)]) == (
        "port 8000 (service) is taken by pid 17 (nginx): nginx -g daemon off;\n"
        "  end it, or change http_options.port in /x/base.yaml\n"
        "port 8265 (Ray dashboard) is taken by a process of another user\n"
        "  end it"
    )


def test_a_long_command_is_cut() -> None:
    assert str(TakenPort(SERVICE, Owner(1, "java", "java " + "x" * 900))).endswith("xx …")


def test_a_port_of_another_start_names_the_down_of_its_home() -> None:
    text = obstacle(None, [TakenPort(SERVICE, OURS)])
    assert text is not None
    assert "SERVE_APP_HOME=/home/bob/.serve-app" in text
    assert "down ends it" in text


def test_a_running_service_is_in_the_way_even_before_it_has_its_ports(attended: Run) -> None:
    text = obstacle(attended, [])
    assert text is not None
    assert f"by pid {os.getpid()} from /x/base.yaml" in text


def test_a_killed_start_is_in_the_way_even_without_ports(attended: Run) -> None:
    killed = Run(**{**vars(attended), "starter": ProcessId(os.getpid(), create_time=0.0)})
    text = obstacle(killed, [])
    assert text is not None
    assert "was killed and left processes" in text


def test_nothing_in_the_way_is_no_obstacle() -> None:
    assert obstacle(None, []) is None
