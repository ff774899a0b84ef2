"""The yard of the soak: camera servers, looped files, and the daemon that watches them."""

from __future__ import annotations

import copy
import json
import os
import signal
import subprocess
import urllib.error
import urllib.request
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import psutil

from tests.kit.daemon import DaemonProcess
from tests.kit.recordings import Scene, write_recording
from tests.kit.rtsp_server import RtspServer
from tests.pipeline.reid_models import write_tiny_embedder
from tests.soak.daemon_board import Board, wait_until
from tests.soak.daemon_film import write_film
from tests.soak.daemon_model import write_follower
from tests.soak.daemon_usage import role_of

SCENE: Final = Scene(frames=500, numbered=False)
OTHER_SIZE: Final = Scene(width=480, height=360, frames=250, numbered=False)
END_S: Final = 10.0  # from SIGTERM to the end


class Yard:
    """Cameras, their servers and the daemon, until the end of the `with` block.

    Two servers have two cameras each; two cameras are looped files. Cameras are read two a process, by others than the
    daemon; the network runs in a process of its own.

    Attributes:
        mounts: of each RTSP camera its server's number and its path there.
        store: of sightings.

    Args:
        folder: for all files.
        board: is told of starts and ends.
        life_s: longest time that anything here lives.
    """

    mounts: Final = {"gate": (0, "/gate"), "dock": (0, "/dock"), "hall": (1, "/hall"), "roof": (1, "/roof")}
    files: Final = ("belt", "door")

    def __init__(self, folder: Path, board: Board, life_s: int) -> None:
        self.folder, self.board = folder, board
        self.store = folder / "people.db"
        self._life_s = life_s
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.scene = write_recording(self.folder / "scene.rec", SCENE)
            self.other_scene = write_recording(self.folder / "other.rec", OTHER_SIZE)
            write_follower(self.folder / "follower.onnx")
            write_tiny_embedder(self.folder / "body.onnx")
            write_film(self.folder / "loop.mp4", self.scene)
            self.servers = [stack.enter_context(RtspServer(life_s=self._life_s)) for _ in range(2)]
            for server, mount in self.mounts.values():
                self.servers[server].add(mount, self.scene)
            self.site = self._site()
            self.daemon = stack.enter_context(DaemonProcess(self.folder, self.site))
            self._stack = stack.pop_all()
        self._told()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def cameras(self) -> list[str]:
        """Those that the site names now."""
        return [camera["id"] for camera in self.site["cameras"]]

    def on_server(self, number: int) -> list[str]:
        """Returns the cameras of a server."""
        return [name for name, (server, _) in self.mounts.items() if server == number]

    def processed(self) -> dict[str, int]:
        """Returns how many frames of each camera were processed; nothing while the daemon does not answer."""
        return {name: camera["processed"] for name, camera in self.states().items()}

    def states(self) -> dict[str, dict[str, Any]]:
        """Returns what /api/cameras says; nothing while the daemon does not answer."""
        try:
            with urllib.request.urlopen(f"{self.daemon.url}/api/cameras", timeout=10) as answer:
                return {camera["id"]: camera for camera in json.load(answer)["cameras"]}
        except (OSError, urllib.error.URLError, ValueError):
            return {}

    def gauge(self, series: str) -> float:
        """Returns a number of /metrics."""
        status, body = self.daemon.get("/metrics")
        assert status == 200, body
        return next(float(line.rsplit(" ", 1)[1]) for line in body.decode().splitlines() if line.startswith(series))

    def children(self, role: str) -> list[psutil.Process]:
        """Returns the daemon's children of a role."""
        found = []
        for child in self._all_children():
            with suppress(psutil.Error):
                if role_of(child) == role:
                    found.append(child)
        return found

    def put_site(self, site: dict[str, Any]) -> None:
        """Writes another file of the site."""
        self.site = site
        self.daemon.write(site)

    def copied_site(self) -> dict[str, Any]:
        """Returns the site, to be changed."""
        return copy.deepcopy(self.site)

    def kill_daemon(self) -> str:
        """Kills the daemon alone and starts it anew; returns what was wrong with that, "" if nothing."""
        self.board.away()
        children = self._all_children()
        self.daemon.process.kill()
        self.daemon.process.wait(10)
        _, left = psutil.wait_procs(children, timeout=15)
        wrong = f"{len(left)} children outlive the daemon that was killed: {left}" if left else ""
        for child in left:
            with suppress(psutil.Error):
                child.kill()
        self._start()
        return wrong

    def restart_daemon(self) -> str:
        """Ends the daemon as asked and starts it anew; returns what was wrong with that, "" if nothing."""
        wrong = self.end_daemon()
        self._start()
        return wrong

    def end_daemon(self) -> str:
        """Ends the daemon as asked; returns what was wrong with that, "" if nothing."""
        self.board.away()
        if self.has_ended():
            return f"it had ended by itself with exit code {self.daemon.process.returncode}"
        children = self._all_children()
        try:
            code, took_s = self.daemon.stop(END_S + 10)
        except subprocess.TimeoutExpired:
            self.daemon.kill()
            return f"it did not end within {END_S + 10:g} s"
        _, left = psutil.wait_procs(children, timeout=2)
        found = [f"exit code {code}"] * (code != 0) + [f"the end took {took_s:.1f} s"] * (took_s > END_S)
        found += [f"it leaves {len(left)} processes"] * bool(left)
        return ", ".join(found)

    def has_ended(self) -> bool:
        """Returns whether the daemon ended by itself."""
        return self.daemon.process.poll() is not None

    def signal(self, process: psutil.Process, number: signal.Signals) -> None:
        """Sends a signal to one of the daemon's children, if it is still there."""
        with suppress(psutil.Error, ProcessLookupError):
            if process.is_running():
                os.kill(process.pid, number)

    def _all_children(self) -> list[psutil.Process]:
        with suppress(psutil.Error):
            return psutil.Process(self.daemon.process.pid).children(recursive=True)
        return []

    def _start(self) -> None:
        self.board.saved({path.stem: _next_id(path) for path in (self.daemon.storage / "state").glob("*.tracks")})
        self.daemon.start()
        self._told()

    def _told(self) -> None:
        self.board.started(self.daemon.process.pid, self.daemon.url, self.cameras)
        wait_until(self.states, 20)

    def _site(self) -> dict[str, Any]:
        cameras = [
            {"id": name, "url": self.servers[server].url(mount)} for name, (server, mount) in self.mounts.items()
        ]
        files = [{"id": name, "url": str(self.folder / "loop.mp4"), "frozen_after_s": 0} for name in self.files]
        return {
            "site": "yard",
            "defaults": {"fps": 5, "open_timeout_s": 5, "silent_after_s": 2, "frozen_after_s": 2},
            "models": {
                "people": {"model": str(self.folder / "follower.onnx"), "device": "cpu", "workers": 2, "isolate": True}
            },
            "ingest": {"group_size": 2},
            "sightings": {"model": str(self.folder / "body.onnx"), "path": self.store.name, "crops": True, "part_s": 5},
            "cameras": [*cameras, *files],
        }


def _next_id(path: Path) -> int:
    from watchline.pipeline.live.kept import kept_from

    return int(kept_from(path.read_bytes()).state.next_id)
