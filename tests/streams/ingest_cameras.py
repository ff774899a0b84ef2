"""Cameras that follow a script, for ingest processes to read: the settings' `pipeline` holds it as JSON."""

from __future__ import annotations

import ctypes
import json
import logging
import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from watchline.streams.address import Address
from watchline.streams.camera_settings import CameraSettings
from watchline.streams.connection import Arrival
from watchline.streams.failure import CameraError, Reason
from watchline.streams.frame import Picture, PixelFormat
from watchline.streams.source import SourceInfo

ROOT = Path(__file__).parents[2]
PASSWORD = "canary-6f1d"  # searched for where it must not be


def scripted(camera: str, fps: float = 0, **script: Any) -> CameraSettings:
    """Returns settings of a camera that `connect` plays.

    Args:
        camera: its name.
        fps: frames a second that are handed on; 0 for all.
        **script: `fps`-independent: see `ScriptedConnection`.
    """
    address = Address.parse(f"rtsp://admin:{PASSWORD}@127.0.0.1:9/{camera}")
    return CameraSettings(camera, address, fps=fps, frozen_after_s=0, pipeline=json.dumps(script))


def connect(settings: CameraSettings) -> ScriptedConnection:
    """Opens the connection that the script asks for."""
    return ScriptedConnection(settings)


class ScriptedConnection:
    """Gives pictures whose first bytes are their number, as the script says.

    `rate`: a second, 50; 0 as fast as they are taken. `size`: height and width; `sizes`: one for each second. `format`:
    "i420", "nv12" or "rgb24". After `after` pictures of a process (20): `fault` is "exit", "abort", "eat", "hang",
    "spin" (holding the interpreter), "log" (a flood of lines) or "end" (of the connection). `once`: a
    file that is made when the fault is due; where it is there already, nothing happens.
    """

    backend = "scripted"
    undecodable = 0

    def __init__(self, settings: CameraSettings) -> None:
        """Reads the script."""
        self._settings = settings
        self._script: dict[str, Any] = json.loads(settings.pipeline or "{}")
        self._rate = self._script.get("rate", 50)
        self._size = tuple(self._script.get("size", (48, 64)))
        self._begun_s = time.monotonic()
        self._count = 0
        self._eaten: list[Any] = []
        self.info = SourceInfo("live", self._size[1], self._size[0], self._rate or 1000, None, None, "scripted")

    def read(self) -> Arrival:
        """Returns the next picture when it is due."""
        if self._count == self._script.get("after", 20) and self._due():
            self._fail(self._script["fault"])
        if self._rate:
            time.sleep(max(0.0, self._begun_s + self._count / self._rate - time.monotonic()))
        if "sizes" in self._script:
            seconds = int(time.monotonic() - self._begun_s)
            self._size = tuple(self._script["sizes"][seconds % len(self._script["sizes"])])
        self._count += 1
        return Arrival(time.monotonic(), None, True, False, partial(self._picture, self._count))

    def close(self) -> None:
        """Does nothing."""

    def _due(self) -> bool:
        if "fault" not in self._script:
            return False
        if "once" in self._script:
            try:
                Path(self._script["once"]).touch(exist_ok=False)
            except FileExistsError:
                return False
        return True

    def _fail(self, fault: str) -> None:
        match fault:
            case "exit":
                os._exit(3)
            case "abort":
                sys.stderr.write(f"fatal: {self._settings.address.url}\n")
                sys.stderr.flush()
                ctypes.string_at(0)
            case "eat":
                while True:
                    self._eaten.append(np.ones(4 << 20, np.uint8))
                    time.sleep(0.005)
            case "hang":
                time.sleep(3600)
            case "log":
                for number in range(100):
                    logging.getLogger("watchline.test").warning("line %d", number)
            case "spin":
                ctypes.PyDLL(None).sleep(3600)
            case _:
                raise CameraError(Reason.ENDED, "the script says so")

    def _picture(self, number: int) -> Picture:
        height, width = self._size
        rows = np.full((height * 3 // 2, width), number % 251, np.uint8)
        rows.reshape(-1)[:8] = np.frombuffer(number.to_bytes(8, "little"), np.uint8)
        luma, chroma = rows[:height], rows[height:]
        kind = self._script.get("format", "i420")
        if kind == "rgb24":
            return Picture.from_rgb(np.repeat(luma[:, :, None], 3, axis=2))
        if kind == "nv12":
            planes: tuple[Any, ...] = (luma, chroma.reshape(height // 2, width // 2, 2))
        else:
            planes = (luma, *chroma.reshape(2, height // 2, width // 2))
        return Picture(height, width, PixelFormat(kind), planes, lambda: np.repeat(luma[:, :, None], 3, axis=2))


def number_in(picture: Picture) -> int:
    """Returns the number of a scripted picture."""
    first = picture.planes[0].reshape(-1)
    return int.from_bytes(first[:8].tobytes() if picture.pixel_format is not PixelFormat.RGB24 else b"", "little")
