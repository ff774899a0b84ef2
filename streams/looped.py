"""Recordings played as if they were live, again and again: for tests, demos, and sites without a camera yet."""

from __future__ import annotations

from watchline.streams.camera_settings import CameraSettings
from watchline.streams.connection import Arrival
from watchline.streams.errors import StreamError
from watchline.streams.failure import CameraError, Reason
from watchline.streams.frame import Frame
from watchline.streams.opening import open_source
from watchline.streams.pace import Pace
from watchline.streams.source import Source, SourceInfo


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
        self._pace = Pace()

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
        if not self._settings.lossless:
            self._pace.wait(pts_s - self._end_s)
        self._end_s = pts_s
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

    def _open(self) -> Source:
        path = self._settings.address.path
        try:
            return open_source(path, self._settings.camera)
        except StreamError as error:
            missing = "no such file" in str(error)
            reason = Reason.NOT_FOUND if missing else Reason.CODEC
            raise CameraError(reason, f'camera "{self._settings.camera}": {error}') from None
