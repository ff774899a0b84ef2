"""Recordings played as if they were live, again and again: for tests, demos, and sites without a camera yet."""

from __future__ import annotations

import time

from watchline.streams.camera_settings import CameraSettings
from watchline.streams.connection import Arrival
from watchline.streams.errors import StreamError
from watchline.streams.failure import CameraError, Reason
from watchline.streams.frame import Frame
from watchline.streams.opening import open_source
from watchline.streams.source import Source, SourceInfo

_LONGEST_WAIT_S = 1.0  # a recording's own gaps are not waited for


class LoopedConnection:
    """A file or a folder of images, in real time, or as fast as its frames are taken where the camera is lossless."""

    def __init__(self, settings: CameraSettings) -> None:
        """Opens the recording.

        Raises:
            CameraError: there is none, or it cannot be read.
        """
        self._settings = settings
        self._source = self._open()
        self._info = self._source.info
        self._undecodable = 0  # in the rounds before this one
        self._round_s = 0.0  # where this round starts in the stream's time
        self._end_s = 0.0
        self._due_s: float | None = None  # when the next picture is due, monotonic

    @property
    def info(self) -> SourceInfo:
        """What the recording says of itself."""
        return self._info

    @property
    def backend(self) -> str:
        """What plays it."""
        return f"recording, {self._info.codec}, looped"

    @property
    def undecodable(self) -> int:
        """Packets so far of which no picture could be made."""
        return self._undecodable + self._source.report().damaged

    def read(self) -> Arrival:
        """See `Connection.read`."""
        frame = self._source.read()
        if frame is None:
            frame = self._again()
        pts_s = self._round_s + frame.pts_s
        step_s = min(max(pts_s - self._end_s, 0.0), _LONGEST_WAIT_S)
        self._end_s = pts_s
        if not self._settings.lossless:
            self._wait(step_s)
        return Arrival(pts_s, None, False, False, lambda: frame.picture)

    def close(self) -> None:
        """Releases the recording."""
        self._source.close()

    def _again(self) -> Frame:
        self._undecodable += self._source.report().damaged
        self._source.close()
        self._source = self._open()
        self._round_s = self._end_s + 1 / self._info.fps
        frame = self._source.read()
        if frame is None:
            raise CameraError(Reason.ENDED, f'camera "{self._settings.camera}": {self._settings.address} is empty now')
        return frame

    def _wait(self, step_s: float) -> None:
        now_s = time.monotonic()
        if self._due_s is None or now_s - self._due_s > _LONGEST_WAIT_S:
            self._due_s = now_s  # the first picture, or decoding is too slow: nothing to catch up
            return
        self._due_s += step_s
        time.sleep(max(0.0, self._due_s - now_s))

    def _open(self) -> Source:
        path = self._settings.address.path
        try:
            return open_source(path, self._settings.camera)
        except StreamError as error:
            missing = "no such file" in str(error)
            reason = Reason.NOT_FOUND if missing else Reason.CODEC
            raise CameraError(reason, f'camera "{self._settings.camera}": {error}') from None
