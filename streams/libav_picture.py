"""Pictures that FFmpeg decoded: their planes as they lie, and their RGB."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from watchline.streams.frame import U8, Picture, PixelFormat

if TYPE_CHECKING:
    from av import VideoFrame
    from av.filter import Graph
    from av.video.plane import VideoPlane

_MATRICES = (0, 1, 2, 4, 5, 6, 7, 9)  # of ITU-T H.273, that swscale knows; it refuses a picture with any other
_UNSPECIFIED = 2
_FULL_RANGE = 2  # AVCOL_RANGE_JPEG
_PLANAR = {"yuv420p": PixelFormat.I420, "yuvj420p": PixelFormat.I420, "nv12": PixelFormat.NV12}


class Converter:
    """Makes pictures of one source, and their RGB in whichever thread asks."""

    def __init__(self) -> None:
        self._pooled = _Pooled()
        self._local = threading.local()  # a scaler each, for it is not thread-safe

    def picture(self, frame: VideoFrame) -> Picture:
        """Returns the frame as a picture that shares its memory; an unknown colour matrix is taken as untold."""
        if int(frame.colorspace) not in _MATRICES:
            frame.colorspace = _UNSPECIFIED
        turns = quarter_turns(frame)
        height, width = (frame.width, frame.height) if turns % 2 else (frame.height, frame.width)
        pixel_format = PixelFormat.OTHER if turns else _PLANAR.get(frame.format.name, PixelFormat.OTHER)
        full_range = int(frame.color_range) == _FULL_RANGE or frame.format.name.startswith("yuvj")
        return Picture(
            height,
            width,
            pixel_format,
            _planes(frame, pixel_format),
            partial(self.rgb, frame, turns),
            int(frame.colorspace),
            full_range,
            frame.interlaced_frame,
        )

    def rgb(self, frame: VideoFrame, turns: int) -> U8:
        """Returns (H, W, 3) uint8 RGB, read only, equal to what OpenCV's VideoCapture gives (as BGR)."""
        # Bicubic is OpenCV's choice too; it matters only where chroma is interpolated. There FFmpeg's BGR and RGB
        # writers round differently by up to 5 levels, so everything but the plain case takes OpenCV's way by BGR.
        plain = frame.format.name in _PLANAR and frame.height % 2 == 0
        if plain and not frame.interlaced_frame:  # whose fields the pool's filter would not tell apart
            converted = self._pooled.rgb(frame)
        else:
            target = "rgb24" if plain else "bgr24"
            converted = self._reformatter().reformat(frame, format=target, interpolation="BICUBIC", threads=1)
        rows = np.ascontiguousarray(_rows(converted.planes[0], 3 * frame.width))
        rgb = _turn(rows.reshape(frame.height, frame.width, 3), turns, swap_colours=not plain)
        rgb.flags.writeable = False
        return rgb

    def _reformatter(self) -> Any:
        if not hasattr(self._local, "reformatter"):
            from av.video.reformatter import VideoReformatter

            self._local.reformatter = VideoReformatter()
        return self._local.reformatter


class _Pooled:
    """Converts pictures to RGB in memory that is used again once nobody holds the result: FFmpeg's filters have a pool.

    Fresh memory for every picture costs four times the conversion, in page faults.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kind: tuple[object, ...] = ()
        self._graph: Graph | None = None

    def rgb(self, frame: VideoFrame) -> VideoFrame:
        """Returns `frame` as rgb24."""
        kind = (frame.width, frame.height, frame.format.name, int(frame.colorspace), int(frame.color_range))
        with self._lock:
            if self._graph is None or kind != self._kind:
                self._graph, self._kind = _rgb_graph(*kind), kind
            self._graph.push(frame)
            return self._graph.pull()  # type: ignore[return-value]  # a graph of pictures gives pictures


def _rgb_graph(width: int, height: int, pixel_format: str, colours: int, levels: int) -> Graph:
    from av.filter import Graph

    described = f"width={width}:height={height}:pix_fmt={pixel_format}:colorspace={colours}:range={levels}"
    graph = Graph()
    graph.threads = 1
    filters = [
        graph.add("buffer", f"{described}:time_base=1/1000000"),
        graph.add("scale", "flags=bicubic"),
        graph.add("format", "pix_fmts=rgb24"),
        graph.add("buffersink"),
    ]
    graph.link_nodes(*filters).configure()
    return graph


def _turn(picture: U8, turns: int, swap_colours: bool) -> U8:
    """Returns the picture turned by quarter turns counter-clockwise, with red and blue exchanged where asked."""
    if not turns and not swap_colours:
        return picture
    import cv2

    result = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB) if swap_colours else picture
    if turns:
        codes = (cv2.ROTATE_90_COUNTERCLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_CLOCKWISE)
        result = cv2.rotate(result, codes[turns - 1])
    return result  # type: ignore[return-value]  # OpenCV's stubs leave the dtype open


def quarter_turns(frame: VideoFrame) -> int:
    """Returns the quarter turns counter-clockwise, 0 to 3, that set the picture upright."""
    return round(frame.rotation / 90) % 4


def _rows(plane: VideoPlane, row_bytes: int) -> U8:
    """Returns a read-only (rows, row_bytes) uint8 view of a plane, top row first; it keeps the frame's memory alive."""
    rows: U8 = np.frombuffer(plane, np.uint8).reshape(-1, abs(plane.line_size))  # type: ignore[call-overload]
    rows.flags.writeable = False
    return (rows if plane.line_size > 0 else rows[::-1])[:, :row_bytes]


def _planes(frame: VideoFrame, pixel_format: PixelFormat) -> tuple[U8, ...]:
    """Returns the planes as `Picture.planes` documents them."""
    if pixel_format is PixelFormat.I420:
        return tuple(_rows(plane, plane.width) for plane in frame.planes)
    if pixel_format is PixelFormat.NV12:
        luma, chroma = frame.planes
        return _rows(luma, luma.width), _rows(chroma, 2 * chroma.width).reshape(chroma.height, chroma.width, 2)
    return ()
