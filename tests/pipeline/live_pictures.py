"""Live pictures without cameras: each picture shows its number."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import cv2
import numpy as np

from watchline.streams.errors import UsageError


def jpeg(camera: str, number: int) -> bytes:
    """A picture of a yard with something that moves."""
    picture = np.full((180, 320, 3), (70, 62, 55), np.uint8)
    picture[110:] = (88, 90, 84)
    left = 20 + number * 7 % 240
    cv2.rectangle(picture, (left, 70), (left + 34, 150), (90, 200, 120), 2)
    cv2.putText(picture, f"{camera} {number}", (8, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (235, 235, 235), 1)
    done, data = cv2.imencode(".jpg", picture)
    assert done
    return data.tobytes()


@dataclass(frozen=True)
class ScriptedPicture:
    number: int
    data: bytes


class ScriptedPictures:
    """Makes a new picture every `period_s`, in a thread that ends once nobody looks."""

    def __init__(self, period_s: float = 0.05, padding: int = 0) -> None:
        self.period_s = period_s
        self.padding = padding  # bytes that make a picture larger
        self.most = 64
        self.lock = threading.Lock()
        self.watches: list[ScriptedWatch] = []
        self.thread: threading.Thread | None = None
        self.given = 0

    def picture(self, camera: str) -> ScriptedPicture:
        """The picture of this moment."""
        number = int(time.monotonic() / self.period_s)
        return ScriptedPicture(number, jpeg(camera, number) + bytes(self.padding))

    def watch(self, camera: str, notify: Callable[[], None] | None = None) -> ScriptedWatch:
        with self.lock:
            if len(self.watches) >= self.most:
                raise UsageError(f'camera "{camera}": {self.most} look already')
            made = ScriptedWatch(self, camera, notify)
            self.watches.append(made)
            if self.thread is None:
                self.thread = threading.Thread(target=self.run, daemon=True)
                self.thread.start()
            return made

    def snapshot(self, camera: str, timeout_s: float) -> ScriptedPicture | None:
        return self.picture(camera)

    def looking(self) -> int:
        """How many look now."""
        with self.lock:
            return len(self.watches)

    def remove(self, camera: str) -> None:
        """The camera is no more."""
        with self.lock:
            gone = [watch for watch in self.watches if watch.camera == camera]
            self.watches = [watch for watch in self.watches if watch.camera != camera]
        for watch in gone:
            watch.ended = True
            watch.tell()

    def run(self) -> None:
        while True:
            with self.lock:
                watches = list(self.watches)
                if not watches:
                    self.thread = None
                    return
            newest = {camera: self.picture(camera) for camera in {watch.camera for watch in watches}}
            for watch in watches:
                watch.newest = newest[watch.camera]
                watch.tell()
            time.sleep(self.period_s)


class ScriptedWatch:
    """One client's look."""

    def __init__(self, pictures: ScriptedPictures, camera: str, notify: Callable[[], None] | None) -> None:
        self.pictures, self.camera, self.notify = pictures, camera, notify
        self.newest: ScriptedPicture | None = None
        self.ended = False

    def tell(self) -> None:
        if self.notify is not None:
            with suppress(RuntimeError):  # the loop is closed
                self.notify()

    def next(self, after: int, timeout_s: float) -> ScriptedPicture | None:
        if self.newest is None or self.newest.number <= after:
            return None
        self.pictures.given += 1
        return self.newest

    def close(self) -> None:
        with self.pictures.lock:
            if self in self.pictures.watches:
                self.pictures.watches.remove(self)
