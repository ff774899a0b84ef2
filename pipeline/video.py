"""Writes H.264 video that a browser plays, and that is playable at every moment while it is written."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from watchline.pipeline.files import writing
from watchline.streams.errors import OutputError
from watchline.streams.frame import U8

if TYPE_CHECKING:
    from av import VideoFrame, VideoStream
    from av.container import OutputContainer

_TIME_BASE = Fraction(1, 90_000)
_LEAST_SIDE, _MOST_SIDE = 16, 1920
_GOP_S = 2.0

# CPU time, conversion included, and size of a 720p frame of a street clip, one thread, no B frames: ultrafast 4.3 ms
# and 23 kB, superfast 6.5 ms and 16 kB, veryfast 9.8 ms and 10 kB. Finding people in it costs about 30 ms.
# No B frames: with them, uneven frame times give a wrong length of the file.
_ENCODER = {"preset": "superfast", "crf": "23", "bf": "0"}

# Each group of pictures is a fragment of its own until the end, so a process that is killed leaves a video; `close`
# then turns the file, in place, into a plain MP4 with one index: players know the length at once and can seek.
_MUXER = {"movflags": "hybrid_fragmented+frag_keyframe", "flush_packets": "1"}

# What cv2.COLOR_RGB2YUV_I420 makes, in the numbers of ITU-T H.273. Untagged, players guess another matrix for HD.
_BT601, _LIMITED_RANGE, _BT709 = 5, 1, 1


class VideoWriter:
    """Writes frames to an MP4 file, each at its own time; the first frame's time is the file's 0.

    The size is that of the first frame, made even, 16 to 1920 pixels a side; frames of other sizes are fitted into it.
    Without a frame there is no file.

    Args:
        path: of the file; made with the first frame.
        fps: average frame rate, a hint for players.
        threads: of the encoder.

    Raises:
        OutputError: at any call, when the file cannot be written; what was written till then stays, if it plays.
    """

    def __init__(self, path: Path, fps: float, threads: int = 1) -> None:
        self._path = path
        self._fps = fps
        self._threads = threads
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._start_s = 0.0
        self._last_ticks = -1
        self._broken = False
        self._planes: U8 | None = None  # of the last frame, to be overwritten: fresh memory for each costs more

    def write(self, rgb: U8, pts_s: float) -> None:
        """Adds the frame `rgb` (H, W, 3) uint8 at `pts_s` seconds; times that do not grow are moved by a tick."""
        import av
        import cv2

        with writing(self._path):
            if self._container is None or self._stream is None:
                self._start_s = pts_s
                self._container, self._stream = self._open(rgb)
            fitted = _fitted(rgb, self._stream.width, self._stream.height)
            # OpenCV converts in a fifth of the time of the muxer's own scaler.
            self._planes = np.asarray(cv2.cvtColor(fitted, cv2.COLOR_RGB2YUV_I420, self._planes), np.uint8)
            picture = av.VideoFrame.from_ndarray(self._planes, format="yuv420p")  # a copy
            self._last_ticks = max(round((pts_s - self._start_s) / _TIME_BASE), self._last_ticks + 1)
            picture.pts, picture.time_base = self._last_ticks, _TIME_BASE
            self._mux(self._container, self._stream, picture)

    def _open(self, rgb: U8) -> tuple[OutputContainer, VideoStream]:
        import av

        height, width = rgb.shape[:2]
        scale = min(1.0, _MOST_SIDE / width, _MOST_SIDE / height)
        with self._path.open("wb"):  # refusals come from here, before there is an encoder to take down
            pass
        container = av.open(f"file:{self._path}", "w", format="mp4", options=_MUXER)
        stream = container.add_stream("libx264", rate=Fraction(self._fps).limit_denominator(1001), options=_ENCODER)
        stream.width, stream.height = (max(_LEAST_SIDE, 2 * round(side * scale / 2 + 0.25)) for side in (width, height))
        stream.pix_fmt = "yuv420p"
        codec = stream.codec_context
        stream.time_base = codec.time_base = _TIME_BASE
        codec.gop_size = max(1, round(self._fps * _GOP_S))
        codec.thread_count = self._threads
        codec.colorspace, codec.color_range = _BT601, _LIMITED_RANGE
        codec.color_primaries = codec.color_trc = _BT709
        return container, stream

    def _mux(self, container: OutputContainer, stream: VideoStream, picture: VideoFrame | None) -> None:
        """Encodes a picture, or, given None, what the encoder still holds."""
        try:
            for packet in stream.encode(picture):
                container.mux(packet)
        except OSError:
            self._broken = True
            raise

    def close(self) -> None:
        """Finishes the file. Safe to call twice, and after an error, when it lets go of the file as it is."""
        container, self._container = self._container, None
        if container is None or self._stream is None:
            return
        told = self._broken  # by the write that failed
        try:
            with writing(self._path):
                try:
                    if not told:  # flushing the encoder of a file that never began would end the process
                        self._mux(container, self._stream, None)
                finally:
                    container.close()
        except OutputError:
            if not _plays(self._path):
                self._path.unlink(missing_ok=True)
            if not told:
                raise


def _plays(path: Path) -> bool:
    """Whether a file that was cut off holds at least one picture."""
    import av

    try:
        with av.open(f"file:{path}") as video:
            return next(video.decode(video=0), None) is not None
    except (av.error.FFmpegError, OSError):
        return False


def _fitted(rgb: U8, width: int, height: int) -> U8:
    """Returns `rgb` in `width` x `height`: as it is where it fits, padded by a pixel, or letterboxed."""
    import cv2

    have_height, have_width = rgb.shape[:2]
    if (have_width, have_height) == (width, height):
        return rgb
    if 0 <= width - have_width <= 1 and 0 <= height - have_height <= 1:
        return np.pad(rgb, ((0, height - have_height), (0, width - have_width), (0, 0)), mode="edge")
    scale = min(width / have_width, height / have_height)
    size = (max(1, min(width, round(have_width * scale))), max(1, min(height, round(have_height * scale))))
    out = np.zeros((height, width, 3), np.uint8)
    top, left = (height - size[1]) // 2, (width - size[0]) // 2
    out[top : top + size[1], left : left + size[0]] = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    return out
