"""Pictures that GStreamer decoded, in memory of their own, with the same RGB as those that FFmpeg decoded."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from watchline.streams.frame import U8, Picture
from watchline.streams.gstreamer_library import Library

if TYPE_CHECKING:
    from av import VideoFrame

    from watchline.streams.libav_picture import Converter

FORMATS = MappingProxyType(
    {
        "I420": "yuv420p",
        "NV12": "nv12",
        "Y42B": "yuv422p",
        "Y444": "yuv444p",
        "Y41B": "yuv411p",
        "GRAY8": "gray",
        "I420_10LE": "yuv420p10le",
        "I422_10LE": "yuv422p10le",
        "Y444_10LE": "yuv444p10le",
        "P010_10LE": "p010le",
        "YUY2": "yuyv422",
        "UYVY": "uyvy422",
        "RGB": "rgb24",
        "BGR": "bgr24",
    }
)
"""Layouts that are taken as they come, in GStreamer's words and in FFmpeg's."""

_UNTOLD = 2
_FULL_RANGE, _LIMITED_RANGE = 2, 1  # AVCOL_RANGE_JPEG, AVCOL_RANGE_MPEG
_GST_FULL_RANGE = 1  # GST_VIDEO_COLOR_RANGE_0_255
# GstVideoColorMatrix and the names of GStreamer's colorimetries -> ITU-T H.273
_MATRICES = MappingProxyType({"1": 0, "2": 4, "3": 1, "4": 6, "5": 7, "6": 9})
_NAMED = MappingProxyType(
    {"bt601": 6, "bt709": 1, "smpte240m": 7, "bt2020": 9, "bt2020-10": 9, "bt2100-pq": 9, "bt2100-hlg": 9, "sRGB": 0}
)


def matrix_of(colorimetry: str | None) -> int:
    """Returns the code of a colour matrix by ITU-T H.273; 2 where GStreamer's word for it tells none.

    >>> matrix_of("bt709"), matrix_of("1:4:0:0"), matrix_of(None)
    (1, 6, 2)
    """
    if not colorimetry:
        return _UNTOLD
    if ":" in colorimetry:
        return _MATRICES.get(colorimetry.split(":")[1], _UNTOLD)
    return _NAMED.get(colorimetry, _UNTOLD)


def picture_of(library: Library, sample: Any, matrix: int, converter: Converter) -> Picture:
    """Returns the picture in a GStreamer sample, as a copy: decoders have few buffers, and take them back.

    Args:
        library: GStreamer.
        sample: a raw picture in one of `FORMATS`.
        matrix: code of the YUV matrix by ITU-T H.273, as the stream told it; 2 is untold.
        converter: makes the RGB.
    """
    from av import VideoFrame

    gst, video = library.gst, library.video
    info = video.VideoInfo.new_from_caps(sample.get_caps())
    buffer = sample.get_buffer()
    layout = video.buffer_get_video_meta(buffer) or info
    frame = VideoFrame(info.width, info.height, FORMATS[info.finfo.name])
    frame.color_range = _FULL_RANGE if int(info.colorimetry.range) == _GST_FULL_RANGE else _LIMITED_RANGE
    frame.colorspace = matrix
    mapped, content = buffer.map(gst.MapFlags.READ)
    if not mapped:
        raise MemoryError("a decoded picture cannot be read")
    try:
        _fill(frame, content.data, list(layout.stride), list(layout.offset))
    finally:
        buffer.unmap(content)
    return converter.picture(frame)


def _fill(frame: VideoFrame, content: Any, strides: Sequence[int], offsets: Sequence[int]) -> None:
    """Copies planes; `content` is a view of the buffer, or bytes where PyGObject lacks GStreamer's own additions."""
    for plane, stride, offset in zip(frame.planes, strides, offsets, strict=False):
        target: U8 = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)  # type: ignore[call-overload]
        shape = (len(target), min(stride, plane.line_size))
        target[:, : shape[1]] = np.ndarray(shape, np.uint8, content, offset, (stride, 1))
