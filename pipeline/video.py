"""Writes H.264 video that a browser plays, and that is playable at every moment while it is written."""

from __future__ import annotations

from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from watchline.pipeline.files import writing
from watchline.streams.frame import U8

if TYPE_CHECKING:
    from av import VideoStream
    from av.container import OutputContainer

_TIME_BASE = Fraction(1, 90_000)
_MOST_WIDTH = 1920
_GOP_S = 2.0

# A 720p frame of the street clip on one core: ultrafast 7 ms and 24 kB, superfast 10 ms and 13 kB, veryfast 14 ms and
# 10 kB. Finding people in it costs about 30 ms.
# No B frames: they would shift the times of a growing file, and gain little in one that nobody keeps for long.
_ENCODER = {"preset": "superfast", "crf": "23", "bf": "0"}

# While it is written, each group of pictures is a fragment of its own: a process that is killed leaves a whole video.
_GROWING = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "flush_packets": "1"}
# In the end the index goes to the front: players know the length at once and can seek.
_FINISHED = {"movflags": "faststart"}


class VideoWriter:
    """Writes frames to an MP4 file, each at its own time.

    The size is that of the first frame, made even, at most 1920 pixels wide; frames of other sizes are fitted into it.

    Args:
        path: of the file; made with the first frame.
        fps: average frame rate, a hint for players.
        threads: of the encoder.

    Raises:
        OutputError: at any call, when the file cannot be written.
    """

    def __init__(self, path: Path, fps: float, threads: int = 1) -> None:
        self._path = path
        self._fps = fps
        self._threads = threads
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._last_ticks = -1

    def write(self, rgb: U8, pts_s: float) -> None:
        """Adds the frame `rgb` (H, W, 3) uint8 at `pts_s` seconds; times that do not grow are moved by a tick."""
        import av

        with writing(self._path):
            if self._container is None or self._stream is None:
                self._container, self._stream = self._open(rgb)
            picture = av.VideoFrame.from_ndarray(_fitted(rgb, self._stream.width, self._stream.height), format="rgb24")
            self._last_ticks = max(round(pts_s / _TIME_BASE), self._last_ticks + 1)
            picture.pts, picture.time_base = self._last_ticks, _TIME_BASE
            for packet in self._stream.encode(picture):
                self._container.mux(packet)

    def _open(self, rgb: U8) -> tuple[OutputContainer, VideoStream]:
        import av

        height, width = rgb.shape[:2]
        scale = min(1.0, _MOST_WIDTH / width)
        container = av.open(str(self._path), "w", format="mp4", options=_GROWING)
        stream = container.add_stream("libx264", rate=Fraction(self._fps).limit_denominator(1001), options=_ENCODER)
        stream.width, stream.height = (max(2, 2 * round(side * scale / 2 + 0.25)) for side in (width, height))
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = _TIME_BASE
        stream.codec_context.gop_size = max(1, round(self._fps * _GOP_S))
        stream.codec_context.thread_count = self._threads
        return container, stream

    def close(self) -> None:
        """Finishes the file. Safe to call twice."""
        container, self._container = self._container, None
        if container is None or self._stream is None:
            return
        with writing(self._path):
            try:
                for packet in self._stream.encode():
                    container.mux(packet)
            finally:
                container.close()
        self._put_index_first()

    def _put_index_first(self) -> None:
        import av

        part = self._path.with_name(self._path.name + ".part")
        # Where there is no room for a second copy the first stays: it plays all the same.
        with suppress(OSError):
            try:
                with (
                    av.open(str(self._path)) as grown,
                    av.open(str(part), "w", format="mp4", options=_FINISHED) as whole,
                ):
                    source = grown.streams.video[0]
                    stream = whole.add_stream_from_template(source)
                    for packet in grown.demux(source):
                        if packet.dts is not None:
                            packet.stream = stream
                            whole.mux(packet)
                part.replace(self._path)
            finally:
                part.unlink(missing_ok=True)


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
