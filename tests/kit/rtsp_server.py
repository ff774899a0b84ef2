"""A real RTSP server for tests: its own process, and told from here what to play and how to fail."""

from __future__ import annotations

import functools
import json
import os
import selectors
import signal
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import pytest

PROGRAM = Path(__file__).with_name("rtsp_server_program.py")
PYTHON = "/usr/bin/python3"  # the system's: it has gi, a venv need not
DEBIAN_PACKAGES = (
    "python3-gi python3-gst-1.0 gir1.2-gstreamer-1.0 gir1.2-gst-plugins-base-1.0 gir1.2-gst-plugins-bad-1.0 "
    "gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad"
)
ANSWER_S = 10.0  # longest wait for the answer to a command

_RING_HEAD = struct.Struct("<Q")
_RING_ENTRY = struct.Struct("<Qd")
_NEEDS = """
import gi
for name in ("Gst", "GstApp", "GstRtsp", "GstRtspServer"):
    gi.require_version(name, "1.0")
from gi.repository import Gst, GstApp, GstRtsp, GstRtspServer
Gst.init(None)
lacking = [n for n in ("h264parse", "h265parse", "jpegparse", "rtph264pay") if not Gst.ElementFactory.find(n)]
assert not lacking, lacking
"""


class RtspServerError(RuntimeError):
    """The server did not start, refused a command or did not answer in time."""


@functools.cache
def why_no_rtsp_server() -> str | None:
    """Returns why this machine can serve no RTSP, in words for a user; None where it can."""
    if not Path(PYTHON).exists():
        return f"no {PYTHON} here: the RTSP server of the tests runs on Debian; install python3 {DEBIAN_PACKAGES}"
    tried = subprocess.run([PYTHON, "-c", _NEEDS], capture_output=True, text=True, timeout=60, check=False)
    if tried.returncode == 0:
        return None
    last = (tried.stderr.strip().splitlines() or ["no message"])[-1]
    return f"{PYTHON} cannot serve RTSP ({last}); install the Debian packages {DEBIAN_PACKAGES}"


@pytest.fixture(scope="session")
def require_rtsp_server() -> None:
    """Asks for a machine that can serve RTSP; with WATCHLINE_REQUIRE_LIVE=1 its absence is a failure."""
    message = why_no_rtsp_server()
    if message is None:
        return
    if os.environ.get("WATCHLINE_REQUIRE_LIVE") == "1":
        pytest.fail(message)
    pytest.skip(message)


class RtspServer:
    """Cameras at rtsp://HOST:PORT/MOUNT, until the end of the `with` block.

    A shared mount is one camera: all clients see the same frames, and one that comes later starts in the middle of a
    GOP. Each client of a mount that is not shared starts at the first frame of the recording. Recordings are played in
    a loop. A mount goes on with the next keyframe after a freeze or a silence, and when somebody watches again.

    A client that comes to a shared mount in the very moment in which its last one leaves may be answered 503. One that
    comes to a silent mount waits until it is resumed (for up to 20 s) if nobody watches it.

    Args:
        port: 0 takes a free one, which `restart` takes again.
        host: address to listen on; one of the namespace where one is given.
        user: asks clients for this name and for `password`; None asks for nothing.
        auth: "digest" or "basic".
        namespace: network namespace to run in (needs root).
        rtcp_interval_s: least seconds between RTCP sender reports; they carry the camera's wall clock.
        life_s: the server ends by itself after so many seconds.
    """

    def __init__(
        self,
        port: int = 0,
        host: str = "127.0.0.1",
        *,
        user: str | None = None,
        password: str | None = None,
        auth: str = "digest",
        namespace: str | None = None,
        rtcp_interval_s: float = 1.0,
        life_s: int = 900,
    ) -> None:
        self.port, self.host = port, host
        self.pid = 0
        self._user, self._password, self._auth = user, password, auth
        self._namespace = namespace
        self._rtcp_interval_s, self._life_s = rtcp_interval_s, life_s
        self._process: subprocess.Popen[bytes] | None = None
        self._unread = b""
        self._mounts: dict[str, dict[str, Any]] = {}
        self._folder = tempfile.TemporaryDirectory(prefix="rtsp-")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self._folder.cleanup()

    def start(self) -> None:
        """Starts the process; mounts that were added before are there again.

        Raises:
            RtspServerError: it does not start.
        """
        command = [PYTHON, str(PROGRAM), "--host", self.host, "--port", str(self.port), "--auth", self._auth]
        command += ["--rtcp-interval", str(self._rtcp_interval_s), "--life", str(self._life_s)]
        command += ["--user", self._user] if self._user is not None else []
        if self._namespace is not None:
            command = ["ip", "netns", "exec", self._namespace, *command]
        with self._log.open("ab") as log:
            # A process group of its own: should the tests die, the kernel wakes and ends even a stopped server.
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, "RTSP_PASSWORD": self._password or ""},
                process_group=0,
            )
        self._unread = b""
        answer = self._answer()
        self.port, self.pid = int(answer["port"]), int(answer["pid"])
        for mount, options in self._mounts.items():
            self._tell("add", mount=mount, **options)

    def add(
        self,
        mount: str,
        recording: Path | None,
        *,
        shared: bool = True,
        protocols: str = "tcp+udp",
        sound: bool = False,
        timestamp_offset: int | None = None,
        seqnum_offset: int | None = None,
        seed: int = 0,
    ) -> None:
        """Adds the camera `mount`, a path such as "/gate".

        Args:
            recording: what it plays; None for a camera with sound and no picture.
            protocols: "tcp", "udp" or "tcp+udp"; a client that asks for another is answered 461.
            sound: a sound track beside the pictures.
            timestamp_offset: RTP timestamp of the first frame; `wrapping_after` gives one that wraps soon.
            seqnum_offset: RTP sequence number of the first packet.
            seed: of the bytes that `corrupt` flips.
        """
        options = {
            "recording": None if recording is None else str(recording),
            "ring": str(Path(self._folder.name) / f"{len(self._mounts)}{mount.replace('/', '_')}.ring"),
            "shared": shared,
            "protocols": protocols,
            "sound": sound,
            "timestamp-offset": timestamp_offset,
            "seqnum-offset": seqnum_offset,
            "seed": seed,
        }
        self._tell("add", mount=mount, **options)
        self._mounts[mount] = options

    def remove(self, mount: str) -> None:
        """Takes the camera away: its sessions end, new clients are answered 404."""
        self._tell("remove", mount=mount)
        del self._mounts[mount]

    def url(self, mount: str, *, user: str | None = None, password: str | None = None) -> str:
        """Returns the address of a mount, with credentials where they are given."""
        account = "" if user is None else f"{quote(user, safe='')}:{quote(password or '', safe='')}@"
        return f"rtsp://{account}{self.host}:{self.port}{mount}"

    def freeze_picture(self, mount: str) -> None:
        """Sends the last keyframe again and again: packets come, and every decoded picture is the same."""
        self._tell("set", mount=mount, frozen=True)

    def silence(self, mount: str) -> None:
        """Sends nothing more; connections stay."""
        self._tell("set", mount=mount, silent=True)

    def resume(self, mount: str) -> None:
        """Ends a freeze and a silence."""
        self._tell("set", mount=mount, frozen=False, silent=False)

    def corrupt(self, mount: str, share: float) -> None:
        """Flips bytes in that share of the access units, 0 to 1, never in the first 40 bytes; 0 ends it."""
        self._tell("set", mount=mount, corrupt_share=share)

    def change(self, mount: str, recording: Path) -> int:
        """Goes on with another recording, at its first frame, and returns how many clients were dropped.

        Another size or rate comes within the sessions. Another codec cannot: the SDP that clients were given names it,
        so they are dropped and find the new one when they come again.
        """
        dropped = int(self._tell("change", mount=mount, recording=str(recording))["dropped"])
        self._mounts[mount]["recording"] = str(recording)
        return dropped

    def jump_pts(self, mount: str, seconds: float) -> None:
        """Adds `seconds` (negative for a jump back) to the media time of all frames from now on."""
        self._tell("jump", mount=mount, seconds=seconds)

    def drop_clients(self, mount: str | None = None) -> int:
        """Closes the connections of all clients, or of those of one mount, and returns how many; new ones may come."""
        return int(self._tell("drop_clients", mount=mount)["dropped"])

    def clients(self, mount: str | None = None) -> int:
        """Returns how many clients are connected, to one mount or to any."""
        paths: list[str] = self._tell("clients")["of"]
        return len(paths) if mount is None else paths.count(mount)

    def kill(self) -> None:
        """Ends the process at once (SIGKILL)."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait(ANSWER_S)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()

    def stop(self) -> None:
        """Stops the process where it is (SIGSTOP) and waits until it stands; its connections stay open.

        Raises:
            RtspServerError: it still runs after the time for an answer.
        """
        os.kill(self.pid, signal.SIGSTOP)
        until_s = time.monotonic() + ANSWER_S
        while not _stands(self.pid):
            if time.monotonic() > until_s:
                raise RtspServerError(f"stop: process {self.pid} still runs after {ANSWER_S:g} s")
            time.sleep(0.001)

    def cont(self) -> None:
        """Lets a stopped process go on."""
        os.kill(self.pid, signal.SIGCONT)

    def restart(self) -> None:
        """Starts the server anew after `kill`, on the same port with the same mounts; faults are forgotten."""
        self.kill()
        self.start()

    def pushes(self, mount: str) -> list[tuple[int, float]]:
        """Returns (frame number, monotonic seconds) of the last pushes of a mount, newest first, at most 4,096."""
        content = Path(self._mounts[mount]["ring"]).read_bytes()
        (count,) = _RING_HEAD.unpack_from(content)
        entries = list(_RING_ENTRY.iter_unpack(content[_RING_HEAD.size :]))
        newest = (count - 1) % len(entries)
        return [entries[newest - back] for back in range(min(count, len(entries)))]

    def pushed_at(self, mount: str, number: int) -> float | None:
        """Returns when the frame was pushed last, on time.monotonic(); None for one that is not among the last pushes.

        With several clients of a mount that is not shared, it is the last push to any of them.
        """
        return next((at for pushed, at in self.pushes(mount) if pushed == number), None)

    def latency_of(self, mount: str, number: int) -> float | None:
        """Returns the seconds from the frame's last push until now; None as `pushed_at`."""
        now, at = time.monotonic(), self.pushed_at(mount, number)
        return None if at is None else now - at

    @property
    def _log(self) -> Path:
        return Path(self._folder.name) / "server.log"

    def _tell(self, do: str, **arguments: Any) -> dict[str, Any]:
        if self._process is None or self._process.stdin is None:
            raise RtspServerError(f"{do}: the server does not run; call start() or restart() first")
        try:
            self._process.stdin.write(json.dumps({"do": do, **arguments}).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise RtspServerError(f"{do}: the server is gone: {self._last_words()}") from None
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        line = next(self._lines(time.monotonic() + ANSWER_S), None)
        if line is None:
            raise RtspServerError(f"no answer within {ANSWER_S:g} s (stopped? call cont()): {self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise RtspServerError(answer["error"])
        return answer

    def _lines(self, until_s: float) -> Iterator[bytes]:
        if self._process is None or self._process.stdout is None:
            return
        with selectors.DefaultSelector() as ready:
            ready.register(self._process.stdout, selectors.EVENT_READ)
            while True:
                line, found, rest = self._unread.partition(b"\n")
                if found:
                    self._unread = rest
                    yield line
                    continue
                if not ready.select(max(0.0, until_s - time.monotonic())):
                    return
                read = os.read(self._process.stdout.fileno(), 65536)
                if not read:
                    return
                self._unread += read

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"


def _stands(pid: int) -> bool:
    """Returns whether every thread of a process is stopped."""
    states = [stat.read_text().rpartition(")")[2].split()[0] for stat in Path(f"/proc/{pid}/task").glob("*/stat")]
    return set(states) == {"T"}


def wrapping_after(seconds: float) -> int:
    """Returns the RTP timestamp of a first frame after which the 32 bits wrap within so many seconds of video."""
    return (1 << 32) - int(seconds * 90_000)
