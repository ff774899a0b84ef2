"""What befalls the yard, and how soon it must be well again."""

from __future__ import annotations

import copy
import resource
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from random import Random
from typing import Final
from urllib.parse import urlsplit

from tests.soak.daemon_board import wait_until
from tests.soak.daemon_yard import Yard

# The longest wait between two tries (30 s), the longest for an answer (5 s), a key frame (1 s), a group of cameras
# that starts in a process of its own, and some on a machine that does other things.
RECONNECT_S: Final = 50.0
SOON_S: Final = 20.0  # where no connection ends
DETECTOR_S: Final = 30.0  # a process starts, and its network is opened and warmed up
HANG_S: Final = 30.0  # after which a detector that does not answer is ended (IsolationBounds)
_NARROW_S: Final = 3.0  # after which it shows which cameras an ended process had
_FRAMES: Final = 3  # by which a camera that is well again has advanced

Wrong = list[str]


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that may happen.

    Attributes:
        name: in words.
        run: makes it happen and undoes it; returns what was wrong meanwhile.
        hits: returns the cameras that need not advance meanwhile.
        bound_s: within which they advance again once it is undone.
        weight: how often, beside the others.
        alone: nothing else happens meanwhile.
        ends_daemon: the daemon is another one afterwards.
        long_s: it takes longer than this, so that a short soak leaves it out; 0 for any.
        narrows: it hits some of these only, which shows after a while: the others are not excused any longer then.
    """

    name: str
    run: Callable[[Yard, Random, Sequence[str]], Wrong]
    hits: Callable[[Yard, Random], Sequence[str]]
    bound_s: float
    weight: float = 1.0
    alone: bool = False
    ends_daemon: bool = False
    long_s: float = 0.0
    narrows: bool = False


def _one_rtsp(yard: Yard, random: Random) -> Sequence[str]:
    return [random.choice(list(yard.mounts))]


def _one_server(yard: Yard, random: Random) -> Sequence[str]:
    return yard.on_server(random.randrange(len(yard.servers)))


def _one(yard: Yard, random: Random) -> Sequence[str]:
    return [random.choice(yard.cameras)]


def _all(yard: Yard, _random: Random) -> Sequence[str]:
    return list(yard.cameras)


def _none(_yard: Yard, _random: Random) -> Sequence[str]:
    return []


def _server_killed(yard: Yard, random: Random, hit: Sequence[str]) -> Wrong:
    server = yard.servers[yard.mounts[hit[0]][0]]
    server.kill()
    time.sleep(random.uniform(0, 8))
    server.restart()
    return []


def _server_frozen(yard: Yard, random: Random, hit: Sequence[str]) -> Wrong:
    server = yard.servers[yard.mounts[hit[0]][0]]
    server.stop()
    time.sleep(random.uniform(0.5, 8))
    server.cont()
    return []


def _clients_dropped(yard: Yard, _random: Random, hit: Sequence[str]) -> Wrong:
    number, mount = yard.mounts[hit[0]]
    yard.servers[number].drop_clients(mount)
    return []


def _picture_frozen(yard: Yard, random: Random, hit: Sequence[str]) -> Wrong:
    number, mount = yard.mounts[hit[0]]
    yard.servers[number].freeze_picture(mount)
    told = wait_until(lambda: yard.states().get(hit[0], {}).get("state") == "frozen", SOON_S)
    time.sleep(random.uniform(0, 4))
    yard.servers[number].resume(mount)
    return [] if told is not None else [f"{hit[0]}: its picture froze, and it was not told within {SOON_S:g} s"]


def _silent(yard: Yard, random: Random, hit: Sequence[str]) -> Wrong:
    number, mount = yard.mounts[hit[0]]
    yard.servers[number].silence(mount)
    time.sleep(random.uniform(0.5, 6))
    yard.servers[number].resume(mount)
    return []


def _corrupt(yard: Yard, random: Random, hit: Sequence[str]) -> Wrong:
    number, mount = yard.mounts[hit[0]]
    yard.servers[number].corrupt(mount, random.uniform(0.1, 0.8))
    time.sleep(random.uniform(2, 8))
    yard.servers[number].corrupt(mount, 0)
    return []


def _size_changed(yard: Yard, random: Random, hit: Sequence[str]) -> Wrong:
    number, mount = yard.mounts[hit[0]]
    yard.servers[number].change(mount, yard.other_scene)
    time.sleep(random.uniform(1, 6))
    yard.servers[number].change(mount, yard.scene)
    return []


def _time_jumped(yard: Yard, random: Random, hit: Sequence[str]) -> Wrong:
    number, mount = yard.mounts[hit[0]]
    yard.servers[number].jump_pts(mount, random.choice([-3600.0, -5.0, 5.0, 3600.0]))
    return []


def _detector_killed(yard: Yard, _random: Random, _hit: Sequence[str]) -> Wrong:
    return _killed(yard, "detector")


def _detector_paused(yard: Yard, random: Random, _hit: Sequence[str]) -> Wrong:
    with _stopped(yard, "detector", random):
        time.sleep(random.uniform(1, 6))
    return []


def _detector_hung(yard: Yard, random: Random, _hit: Sequence[str]) -> Wrong:
    """It stays stopped: the daemon itself must end it."""
    with _stopped(yard, "detector", random):
        before = [child.pid for child in yard.children("detector")]
        gone = wait_until(lambda: before != [child.pid for child in yard.children("detector")], HANG_S + 15)
    return [] if gone is not None else [f"a detector that stood still was not ended within {HANG_S + 15:g} s"]


def _reader_killed(yard: Yard, random: Random, hit: Sequence[str]) -> Wrong:
    return _killed(yard, "readers", random)


def _reader_stopped(yard: Yard, random: Random, _hit: Sequence[str]) -> Wrong:
    with _stopped(yard, "readers", random):
        time.sleep(random.uniform(0.5, 8))
    return []


def _killed(yard: Yard, role: str, random: Random | None = None) -> Wrong:
    children = yard.children(role)
    if not children:
        return [f"no process is of the {role}"]
    child = random.choice(children) if random else children[0]
    yard.signal(child, signal.SIGKILL)
    gone = wait_until(lambda: child.pid not in [one.pid for one in yard.children(role)], 5)
    return [] if gone is not None else [f"{role} {child.pid} is still there"]


@contextmanager
def _stopped(yard: Yard, role: str, random: Random) -> Iterator[None]:
    children = yard.children(role)
    child = random.choice(children) if children else None
    if child is not None:
        yard.signal(child, signal.SIGSTOP)
    try:
        yield
    finally:
        if child is not None:
            yard.signal(child, signal.SIGCONT)


def _reloaded(yard: Yard, random: Random, hit: Sequence[str]) -> Wrong:
    """Another weight or regions are taken while a camera runs on, another frame rate begins it anew."""
    site = yard.copied_site()
    camera = next(camera for camera in site["cameras"] if camera["id"] == hit[0])
    what = random.choice(["weight", "fps", "ignore"])
    if what == "ignore":
        camera["ignore"] = [[[0.0, 0.0], [random.uniform(0.1, 0.3), 0.0], [0.2, 0.2]]]
    else:
        camera[what] = round(random.uniform(4, 6) if what == "fps" else random.uniform(0.5, 2), 3)
    if what == "fps":
        yard.board.begun(hit)
    return _taken(yard, 'watchline_config_reloads_total{reason="ok"}', lambda: yard.put_site(site))


def _reloaded_broken(yard: Yard, random: Random, _hit: Sequence[str]) -> Wrong:
    good = yard.daemon.file.read_text()
    bad = random.choice(
        [good.replace("fps:", "fsp:", 1), good[: len(good) // 2] + "\n\t- {", good + "\nsite: again\n", ""]
    )

    def spoil() -> None:
        yard.daemon.file.write_text(bad)

    wrong = _taken(yard, 'watchline_config_reloads_total{reason="refused"}', spoil)
    wrong += _taken(yard, 'watchline_config_reloads_total{reason="ok"}', lambda: yard.put_site(yard.site))
    return wrong


def _camera_comes_and_goes(yard: Yard, random: Random, _hit: Sequence[str]) -> Wrong:
    before, name = yard.copied_site(), "guest"
    site = yard.copied_site()
    site["cameras"].append({**copy.deepcopy(random.choice(site["cameras"])), "id": name})
    with yard.board.excused("comes and goes", [name]):
        yard.board.begun([name])
        yard.put_site(site)
        came = wait_until(lambda: yard.processed().get(name, 0) >= _FRAMES, RECONNECT_S)
        time.sleep(random.uniform(0, 5))
        yard.put_site(before)
        went = wait_until(lambda: yard.states() and name not in yard.states(), 20)
        time.sleep(1.5)  # a look that began before has ended
    return ["a camera that was added gave no picture"] * (came is None) + ["it was not removed"] * (went is None)


def _taken(yard: Yard, counter: str, write: Callable[[], None]) -> Wrong:
    before = yard.gauge(counter)
    write()
    took = wait_until(lambda: yard.gauge(counter) > before, 15, 0.25)
    return [] if took is not None else [f"{counter}: not counted within 15 s after the file changed"]


def _slow_clients(yard: Yard, random: Random, hit: Sequence[str]) -> Wrong:
    """Clients that ask for live pictures and read none, or all numbers byte by byte."""
    address = urlsplit(yard.daemon.url)
    with ExitStack() as stack:
        for index in range(6):
            client = stack.enter_context(socket.create_connection((address.hostname or "", address.port or 0), 5))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            path = "/metrics" if index % 3 == 2 else f"/cameras/{random.choice(yard.cameras)}/live.mjpg"
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode()[: None if index else 9])
        time.sleep(random.uniform(3, 12))
    return []


def _disk_refuses(yard: Yard, random: Random, _hit: Sequence[str]) -> Wrong:
    """No file of the daemon may grow: each write fails as on a full disk."""
    pid, no_more = yard.daemon.process.pid, 0
    _, hard = before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (no_more, hard))
    try:
        told = wait_until(lambda: yard.gauge("watchline_journal_failing") == 1, 10, 0.25)
        time.sleep(random.uniform(0, 6))
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
    well = wait_until(lambda: yard.gauge("watchline_journal_failing") == 0, 15, 0.25)
    wrong = ["a disk that takes nothing was not told within 10 s"] * (told is None)
    return wrong + ["the journal was not written again within 15 s"] * (well is None)


def _disk_nearly_full(yard: Yard, random: Random, _hit: Sequence[str]) -> Wrong:
    """More is to be left free than the disk has: closed files of the journal go, all else goes on."""
    before, site = yard.copied_site(), yard.copied_site()
    site["retention"] = {"free": "1000TiB"}
    counter = 'watchline_config_reloads_total{reason="ok"}'
    wrong = _taken(yard, counter, lambda: yard.put_site(site))
    time.sleep(random.uniform(1, 5))
    return wrong + _taken(yard, counter, lambda: yard.put_site(before))


def _daemon_killed(yard: Yard, _random: Random, _hit: Sequence[str]) -> Wrong:
    return [wrong for wrong in [yard.kill_daemon()] if wrong]


def _daemon_restarted(yard: Yard, _random: Random, _hit: Sequence[str]) -> Wrong:
    return [wrong for wrong in [yard.restart_daemon()] if wrong]


CAMERA_FAULTS: Final = (
    Fault("server killed", _server_killed, _one_server, RECONNECT_S),
    Fault("server frozen", _server_frozen, _one_server, RECONNECT_S),
    Fault("clients dropped", _clients_dropped, _one_rtsp, RECONNECT_S, weight=2),
    Fault("picture frozen", _picture_frozen, _one_rtsp, SOON_S),
    Fault("camera silent", _silent, _one_rtsp, RECONNECT_S),
    Fault("pictures corrupt", _corrupt, _one_rtsp, RECONNECT_S),
    Fault("size changed", _size_changed, _one_rtsp, RECONNECT_S),
    Fault("media time jumped", _time_jumped, _one_rtsp, RECONNECT_S),
)
SYSTEM_FAULTS: Final = (
    Fault("detector killed", _detector_killed, _all, DETECTOR_S),
    Fault("detector paused", _detector_paused, _all, DETECTOR_S),
    Fault("detector hung", _detector_hung, _all, DETECTOR_S, weight=0.3, alone=True, long_s=HANG_S),
    Fault("reader killed", _reader_killed, _all, RECONNECT_S, narrows=True),
    Fault("reader stopped", _reader_stopped, _all, RECONNECT_S, narrows=True),
    Fault("reload", _reloaded, _one, RECONNECT_S),
    Fault("broken reload", _reloaded_broken, _none, SOON_S),
    Fault("camera comes and goes", _camera_comes_and_goes, _none, SOON_S),
    Fault("slow clients", _slow_clients, _none, SOON_S),
    Fault("disk refuses", _disk_refuses, _none, SOON_S, alone=True),
    Fault("disk nearly full", _disk_nearly_full, _none, SOON_S),
)
DAEMON_FAULTS: Final = (
    Fault("daemon killed", _daemon_killed, _all, RECONNECT_S, alone=True, ends_daemon=True),
    Fault("daemon restarted", _daemon_restarted, _all, RECONNECT_S, alone=True, ends_daemon=True),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One fault as it was.

    Attributes:
        name: of the fault.
        cameras: that it hit.
        begun_s: since the start of the soak, seconds.
        lasted_s: until it was undone.
        recovered_s: from then on until all cameras that it hit advanced again; None where they did not in time.
        wrong: what was not as it should be.
    """

    name: str
    cameras: tuple[str, ...]
    begun_s: float
    lasted_s: float
    recovered_s: float | None
    wrong: tuple[str, ...]


def befall(yard: Yard, fault: Fault, random: Random, since_s: float, bound_s: float) -> Outcome:
    """Lets a fault happen, undoes it, and waits for up to `bound_s` until all is well again."""
    hit, begun_s = list(fault.hits(yard, random)), time.monotonic()
    with ExitStack() as excuses:
        with yard.board.excused(fault.name, hit):
            wrong = fault.run(yard, random, hit)
            undone_s = time.monotonic()
            if fault.narrows:
                time.sleep(_NARROW_S)
                hit = [name for name, state in yard.states().items() if name in hit and state["state"] != "live"]
            excuses.enter_context(yard.board.excused(fault.name, hit))
        recovered_s = _recovered(yard, hit, bound_s)
    if recovered_s is None:
        states = {name: state.get("why") for name, state in yard.states().items() if name in hit}
        wrong.append(f"not well again within {bound_s:g} s: {states}")
    return Outcome(fault.name, tuple(hit), begun_s - since_s, undone_s - begun_s, recovered_s, tuple(wrong))


def _recovered(yard: Yard, cameras: Sequence[str], bound_s: float) -> float | None:
    """Waits until each camera was processed some times more; returns after how long."""
    counts: dict[str, int] = {}
    advanced: set[str] = set()

    def all_advance() -> bool:
        for name, processed in yard.processed().items():
            before = counts.get(name, processed)
            counts[name] = min(before, processed)  # counts of a camera that began anew begin at 0
            if processed >= counts[name] + _FRAMES:
                advanced.add(name)
        return advanced >= {*cameras}

    return wait_until(all_advance, bound_s, 0.25) if cameras else 0.0
