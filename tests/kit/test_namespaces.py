"""The made networks lose, slow down and fall silent as they were asked to."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from tests.kit.namespaces import Namespace, require_namespaces

SEND_NUMBERS = """
import socket, sys, time
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for number in range(2000):
    out.sendto(number.to_bytes(4, "big"), (sys.argv[1], int(sys.argv[2])))
    if number % 20 == 0:
        time.sleep(0.002)
"""
POUR = """
import socket, sys
listener = socket.create_server((sys.argv[1], 0))
print(listener.getsockname()[1], flush=True)
connection, _ = listener.accept()
while True:
    connection.sendall(bytes(10_000))
"""


@pytest.fixture
def space() -> Iterator[Namespace]:
    require_namespaces()
    with Namespace() as made:
        yield made


def pouring(space: Namespace) -> tuple[str, int]:
    """Starts a server inside that sends without end to one client; returns its address."""
    server = space.run(sys.executable, "-c", POUR, space.address, stdout=subprocess.PIPE)
    assert server.stdout is not None
    with server.stdout as printed:
        return space.address, int(printed.readline())


@pytest.mark.parametrize("percent", [0, 5, 20])
def test_the_share_of_lost_datagrams_is_what_was_asked(space: Namespace, percent: int) -> None:
    space.loss(percent)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here:
        here.bind((space.outer_address, 0))
        here.settimeout(0.5)
        sender = space.run(sys.executable, "-c", SEND_NUMBERS, space.outer_address, str(here.getsockname()[1]))
        count = 0
        here.settimeout(5)
        try:
            while here.recv(100):
                count += 1
                here.settimeout(0.5)
        except TimeoutError:
            pass
        assert sender.wait(5) == 0
    assert abs(100 - count / 20 - percent) <= (0 if percent == 0 else 3)


def test_datagrams_towards_the_namespace_are_lost_too(space: Namespace) -> None:
    space.loss(100)
    answer = "import socket, sys\nhere = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
    answer += "here.bind((sys.argv[1], 4000))\nprint(flush=True)\nhere.recv(10)\n"
    server = space.run(sys.executable, "-c", answer, space.address, stdout=subprocess.PIPE)
    assert server.stdout is not None
    with server.stdout, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        server.stdout.readline()
        out.sendto(b"x", (space.address, 4000))
        with pytest.raises(subprocess.TimeoutExpired):
            server.wait(0.3)
        space.clear()
        out.sendto(b"x", (space.address, 4000))
        assert server.wait(3) == 0


def test_the_rate_is_kept(space: Namespace) -> None:
    space.rate(4)
    with socket.create_connection(pouring(space), timeout=3) as client:
        skip(client, 100_000)
        start = time.monotonic()
        skip(client, 500_000)
        mbit = 500_000 * 8 / 1e6 / (time.monotonic() - start)
    assert 2.8 < mbit < 4.2  # less by what the headers, and packets sent anew, take


def skip(client: socket.socket, size: int) -> None:
    while size > 0:
        data = client.recv(size)
        assert data
        size -= len(data)


def test_an_unplugged_cable_gives_silence_and_a_plugged_one_goes_on(space: Namespace) -> None:
    address = pouring(space)
    with socket.create_connection(address, timeout=3) as client:
        skip(client, 100_000)
        space.link_down()
        client.settimeout(0.4)
        with pytest.raises(TimeoutError):
            skip(client, 100_000_000)
        with pytest.raises(TimeoutError):
            socket.create_connection(address, timeout=0.3)
        space.link_up()
        client.settimeout(10)
        skip(client, 10_000_000)


def test_two_at_once_do_not_disturb_each_other(space: Namespace) -> None:
    with Namespace() as other:
        assert len({space.name, other.name, space.address, other.address, space.device, other.device}) == 6
        other.link_down()
        socket.create_connection(pouring(space), timeout=3).close()


def test_everything_is_gone_at_the_end_even_after_a_failure() -> None:
    require_namespaces()
    with pytest.raises(ZeroDivisionError), Namespace() as space:
        name, device = space.name, space.device
        sleeper = space.run("sleep", "60")
        _ = 1 / 0
    assert sleeper.poll() is not None
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    assert name not in [line.split(" ")[0] for line in listed.splitlines()]
    assert subprocess.run(["ip", "link", "show", device], capture_output=True, check=False).returncode != 0


def test_what_a_killed_test_left_behind_is_removed_by_the_next_one() -> None:
    require_namespaces()
    killed = "import os\nfrom tests.kit.namespaces import Namespace\nspace = Namespace()\n"
    killed += "space.__enter__()\nprint(space.name, flush=True)\nos._exit(9)\n"
    done = subprocess.run([sys.executable, "-c", killed], capture_output=True, text=True, check=False, timeout=20)
    name = done.stdout.strip()
    assert name, done.stderr
    with Namespace():
        listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    assert name not in [line.split(" ")[0] for line in listed.splitlines()]


def test_names_that_another_made_are_left_alone() -> None:
    require_namespaces()
    other = f"kit-test-{os.getpid()}-{threading.get_native_id()}"
    subprocess.run(["ip", "netns", "add", other], check=True)
    try:
        with Namespace():
            pass
        listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    finally:
        subprocess.run(["ip", "netns", "del", other], check=True)
    assert other in listed
