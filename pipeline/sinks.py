"""What is made for people, as sinks of the road: the annotated video and the album behind the report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from watchline.pipeline.album import Album
from watchline.pipeline.annotate import Annotator
from watchline.pipeline.findings import Findings
from watchline.pipeline.video import VideoWriter
from watchline.streams.frame import U8, Frame
from watchline.trackers.tracks import Tracks


class VideoSink:
    """A `Sink` that draws tracks into the annotated video.

    Args:
        path: of the video.
        labels: class names.
        fps: average frame rate of what will be written.

    Raises:
        OutputError: the file cannot be written.
    """

    name = "video"

    def __init__(self, path: Path, labels: Sequence[str], fps: float) -> None:
        self._annotator = Annotator(labels)
        self._writer = VideoWriter(path, fps)
        self._canvas: U8 | None = None  # the last one: fresh megabytes a frame cost more than the drawing

    def write(self, frame: Frame, findings: Findings, tracks: Tracks) -> None:
        """Draws and encodes one frame."""
        self._canvas = self._annotator.draw(frame.rgb(), tracks, frame.pts_s, findings, self._canvas)
        self._writer.write(self._canvas, frame.pts_s)

    def close(self) -> None:
        """Finishes the file."""
        self._writer.close()


class AlbumSink:
    """A `Sink` that gathers what the report shows."""

    name = "album"

    def __init__(self, album: Album) -> None:
        self._album = album

    def write(self, frame: Frame, findings: Findings, tracks: Tracks) -> None:
        """Looks at one frame."""
        self._album.add(frame, tracks, findings)

    def close(self) -> None:
        """Nothing to finish."""
