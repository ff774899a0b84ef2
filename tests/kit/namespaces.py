"""A network of a test's own: a namespace, joined to the test's by a cable that can lose, slow down and be unplugged.

Needs root, `ip`, `tc` and `nft`. What is made has a name that only this file gives, and only such names are deleted.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from types import TracebackType
from typing import Self

from tests.kit.require import skip_or_fail

NAME = re.compile(r"watchline-kit-(\d+)-(\d+)")  # the process that made it, the third number of its addresses
NUMBERS = 256
STOP_S = 2.0


class NamespaceError(RuntimeError):
    """A network command failed."""


def require_namespaces() -> None:
    """Skips (or fails, see `skip_or_fail`) the test where network namespaces cannot be made."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        skip_or_fail("network namespaces need root; run this test as root")
    for tool in ("ip", "tc", "nft"):
        if shutil.which(tool) is None:
            skip_or_fail(f"no command {tool!r} here; install iproute2 and nftables")
    try:
        with Namespace() as probe:
            probe.loss(1)
            probe.rate(1)
    except NamespaceError as error:
        skip_or_fail(f"this machine does not make such networks: {error}")


class Namespace:
    """A namespace with `lo` and one end of a cable; the other end is in the test's own namespace.

    Example:
        with Namespace() as camera_side:
            server = camera_side.run("python3", "server.py", "--listen", camera_side.address)
            camera_side.loss(5)
            ...  # connect to camera_side.address
    """

    def __init__(self) -> None:
        self._number: int | None = None
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        _remove_orphans()
        try:
            self._number = _lay_cable()
            self._join()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            for process in self._running:
                _stop(process)
        finally:
            self._remove()

    @property
    def name(self) -> str:
        """The namespace's name, as `ip netns` shows it."""
        return _name(self._made())

    @property
    def address(self) -> str:
        """The address of the namespace's end."""
        return f"10.77.{self._made()}.2"

    @property
    def outer_address(self) -> str:
        """The address of the test's own end, as the namespace sees it."""
        return f"10.77.{self._made()}.1"

    @property
    def device(self) -> str:
        """The name of the cable's end in the test's own namespace."""
        return _outer(self._made())

    def run(
        self,
        *arguments: str,
        env: dict[str, str] | None = None,
        stdin: int | None = subprocess.DEVNULL,
        stdout: int | None = None,
        stderr: int | None = None,
    ) -> subprocess.Popen[bytes]:
        """Starts a program inside; it is ended with the namespace at the latest. `ip` becomes the program: one pid."""
        command = ["ip", "netns", "exec", self.name, *arguments]
        process = subprocess.Popen(command, env=env, stdin=stdin, stdout=stdout, stderr=stderr)
        self._running.append(process)
        return process

    def loss(self, percent: float, udp_only: bool = True) -> None:
        """Loses `percent` of the packets in each direction, at random, without a word to the sender."""
        if not 0 <= percent <= 100:
            raise ValueError(f"percent: want 0 to 100, got {percent:g}")
        self._forget_losses()
        share = round(percent * 100)
        if share == 0:
            return
        rule = f"{'meta l4proto udp ' if udp_only else ''}numgen random mod 10000 0-{share - 1} counter drop"
        chains = "".join(
            f"chain {hook} {{ type filter hook {hook} device cable priority 0; policy accept;\n {rule}\n }}\n"
            for hook in ("ingress", "egress")
        )
        _command("ip", "netns", "exec", self.name, "nft", "-f", "-", stdin=f"table netdev kit {{\n{chains}}}\n")

    def rate(self, mbit: float, queue_s: float = 0.1) -> None:
        """Lets at most `mbit` megabits a second through in each direction; what waits longer than `queue_s` is lost."""
        if mbit <= 0:
            raise ValueError(f"mbit: want more than 0, got {mbit:g}")
        shape = [
            "root",
            "tbf",
            "rate",
            f"{round(mbit * 1000)}kbit",
            "burst",
            "16kb",
            "latency",
            f"{queue_s * 1000:g}ms",
        ]
        _command("tc", "qdisc", "replace", "dev", self.device, *shape)
        _command("ip", "netns", "exec", self.name, "tc", "qdisc", "replace", "dev", "cable", *shape)

    def clear(self) -> None:
        """Ends loss and rate, and plugs the cable in."""
        self._forget_losses()
        for prefix, device in ((["tc"], self.device), (["ip", "netns", "exec", self.name, "tc"], "cable")):
            subprocess.run([*prefix, "qdisc", "del", "dev", device, "root"], capture_output=True, check=False)
        self.link_up()

    def link_down(self) -> None:
        """Unplugs the cable: connections stay, and nothing passes."""
        _command("ip", "-n", self.name, "link", "set", "cable", "down")

    def link_up(self) -> None:
        """Plugs the cable in."""
        _command("ip", "-n", self.name, "link", "set", "cable", "up")

    def _made(self) -> int:
        if self._number is None:
            raise NamespaceError("the namespace is not made yet, or gone; use it inside `with`")
        return self._number

    def _join(self) -> None:
        _command("ip", "addr", "add", f"{self.outer_address}/30", "dev", self.device)
        _command("ip", "link", "set", self.device, "up")
        _command("ip", "-n", self.name, "addr", "add", f"{self.address}/30", "dev", "cable")
        _command("ip", "-n", self.name, "link", "set", "lo", "up")
        self.link_up()

    def _forget_losses(self) -> None:
        delete = ["ip", "netns", "exec", self.name, "nft", "delete", "table", "netdev", "kit"]
        subprocess.run(delete, capture_output=True, check=False)

    def _remove(self) -> None:
        if self._number is not None:
            _remove(self._number, os.getpid())
            self._number = None


def _name(number: int, pid: int | None = None) -> str:
    return f"watchline-kit-{os.getpid() if pid is None else pid}-{number}"


def _outer(number: int) -> str:
    return f"wlkit{number}"


def _lay_cable() -> int:
    """Makes a namespace and a cable to it; returns its number. The device's name is the lock between parallel tests."""
    for attempt in range(NUMBERS):
        number = (os.getpid() + attempt) % NUMBERS
        name = _name(number)
        if subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode:
            continue  # this process has that one already
        link = ["ip", "link", "add", _outer(number), "type", "veth", "peer", "name", "cable", "netns", name]
        made = subprocess.run(link, capture_output=True, text=True, check=False)
        if not made.returncode:
            return number
        _command("ip", "netns", "del", name)
        if "File exists" not in made.stderr:
            raise NamespaceError(f"{' '.join(link)}: {made.stderr.strip()}")
    raise NamespaceError(f"all {NUMBERS} test networks (wlkit0 to wlkit{NUMBERS - 1}) are in use; see `ip netns list`")


def _remove(number: int, pid: int) -> None:
    """Removes a namespace; the cable goes with it, since one of its ends was inside."""
    name = _name(number, pid)
    # A program that still runs inside would keep the cable alive beyond the name: take the cable first.
    subprocess.run(["ip", "-n", name, "link", "del", "cable"], capture_output=True, check=False)
    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def _remove_orphans() -> None:
    """Removes what a killed test left behind: namespaces of this file's names whose maker is gone."""
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=False).stdout
    for line in listed.splitlines():
        match = NAME.fullmatch(line.split(" ")[0])
        if match and not _alive(int(match[1])):
            _remove(int(match[2]), int(match[1]))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(STOP_S)


def _command(*arguments: str, stdin: str | None = None) -> None:
    done = subprocess.run(arguments, input=stdin, capture_output=True, text=True, check=False, timeout=10)
    if done.returncode:
        raise NamespaceError(f"{' '.join(arguments)}: {done.stderr.strip()}")
