"""Test videos and images with known content: each picture carries its number, a moving square and known flat colours.

A clip is a pure function of its `Clip`: no clock, no random numbers, no real footage.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from av import AudioStream, VideoFrame, VideoStream
    from av.container import OutputContainer

U8 = NDArray[np.uint8]

NUMBER_BITS = 16
LEFT_COLOUR = (200, 40, 40)  # below the barcode, left half, RGB
RIGHT_COLOUR = (40, 40, 200)
SQUARE_COLOUR = (240, 240, 40)


@dataclass(frozen=True, slots=True)
class Clip:
    """What to write. The suffix of the path decides the container.

    Attributes:
        pts_ms: display time of each picture for variable frame rate; None for a constant `fps`.
        width: pixels as shown, after `rotation`.
        height: pixels as shown.
        rotation: degrees counter-clockwise, a multiple of 90, that a player must turn the stored picture by to show it
            upright; None writes no display matrix.
        colorspace: FFmpeg's matrix number (1 BT.709, 6 BT.601); None leaves the file untagged.
        color_range: 1 limited, 2 full; None leaves the file untagged.
        audio_s: seconds of silence beside the pictures; 0 for none.
        first_number: number in the first picture.
    """

    frames: int = 40
    width: int = 160
    height: int = 120
    fps: int = 25
    codec: str = "libx264"
    pix_fmt: str = "yuv420p"
    gop: int = 12
    b_frames: int = 0
    pts_ms: tuple[int, ...] | None = None
    rotation: int | None = None
    colorspace: int | None = None
    color_range: int | None = None
    audio_s: float = 0.0
    creation_time: str | None = None
    faststart: bool = False
    fragmented: bool = False
    first_number: int = 0


def draw(number: int, width: int, height: int) -> U8:
    """Returns the (H, W, 3) uint8 RGB picture that carries `number`."""
    picture = np.empty((height, width, 3), np.uint8)
    picture[:, : width // 2] = LEFT_COLOUR
    picture[:, width // 2 :] = RIGHT_COLOUR
    side = height // 5
    left, top = number * 3 % (width - side), height // 2
    picture[top : top + side, left : left + side] = SQUARE_COLOUR
    cell = width // NUMBER_BITS
    for bit in range(NUMBER_BITS):
        picture[: height // 4, bit * cell : (bit + 1) * cell] = 255 if number >> bit & 1 else 0
    return picture


def read_number(rgb: U8) -> int:
    """Returns the number that a decoded picture carries; survives lossy coding and scaling."""
    height, width = rgb.shape[:2]
    cell = width / NUMBER_BITS
    rows = slice(height // 16, height // 5)
    bits = [rgb[rows, int((bit + 0.3) * cell) : int((bit + 0.7) * cell) + 1].mean() > 127 for bit in range(NUMBER_BITS)]
    return sum(1 << bit for bit, lit in enumerate(bits) if lit)


def write_clip(path: Path, clip: Clip | None = None) -> Path:
    """Writes `clip` (a default one when None) to `path` and returns the path."""
    import av

    clip = clip or Clip()
    with av.open(str(path), "w", options=_muxer_options(clip)) as container:
        if clip.creation_time is not None:
            container.metadata["creation_time"] = clip.creation_time
        stream = _add_video(container, clip)
        sound = container.add_stream("aac", rate=48000) if clip.audio_s else None
        for index in range(clip.frames):
            container.mux(stream.encode(_frame(clip, index)))
        container.mux(stream.encode(None))
        if sound is not None:
            _write_silence(container, sound, clip.audio_s)
    return path


def write_sound(path: Path, seconds: float = 0.5) -> Path:
    """Writes a file that holds sound and no pictures."""
    import av

    with av.open(str(path), "w") as container:
        _write_silence(container, container.add_stream("aac", rate=48000), seconds)
    return path


def write_image(path: Path, number: int, width: int = 160, height: int = 120) -> Path:
    """Writes the picture that carries `number`; the suffix of the path decides the kind."""
    import cv2

    encoded = cv2.imencode(path.suffix, draw(number, width, height)[..., ::-1])[1]
    path.write_bytes(encoded.tobytes())
    return path


def _add_video(container: OutputContainer, clip: Clip) -> VideoStream:
    from av import VideoStream

    stream = container.add_stream(clip.codec, rate=clip.fps, options=_encoder_options(clip.codec))
    if not isinstance(stream, VideoStream):
        raise ValueError(f"codec: want one for video, got {clip.codec}")
    stream.height, stream.width = _stored(clip, draw(0, clip.width, clip.height)).shape[:2]
    stream.pix_fmt = clip.pix_fmt
    context = stream.codec_context
    context.gop_size, context.max_b_frames, context.thread_count = clip.gop, clip.b_frames, 1
    if clip.pts_ms is not None:
        context.time_base = Fraction(1, 1000)
    if clip.colorspace is not None:
        context.colorspace = clip.colorspace
    if clip.color_range is not None:
        context.color_range = clip.color_range
    if clip.rotation is not None:
        stream.set_display_rotation(clip.rotation)
    return stream


def _stored(clip: Clip, picture: U8) -> U8:
    """Returns the picture as the camera's sensor saw it: a player that turns it by `rotation` shows it upright."""
    return np.ascontiguousarray(np.rot90(picture, -(clip.rotation or 0) // 90))


def _frame(clip: Clip, index: int) -> VideoFrame:
    import av

    picture = _stored(clip, draw(clip.first_number + index, clip.width, clip.height))
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
    frame = frame.reformat(format=clip.pix_fmt, dst_colorspace=clip.colorspace, dst_color_range=clip.color_range)
    frame.pts = index if clip.pts_ms is None else clip.pts_ms[index]
    frame.time_base = Fraction(1, clip.fps) if clip.pts_ms is None else Fraction(1, 1000)
    return frame


def _write_silence(container: OutputContainer, stream: AudioStream, seconds: float) -> None:
    import av

    samples = 1024
    for start in range(0, int(seconds * 48000), samples):
        frame = av.AudioFrame.from_ndarray(np.zeros((2, samples), np.float32), format="fltp", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def _muxer_options(clip: Clip) -> dict[str, str]:
    if clip.fragmented:
        return {"movflags": "frag_keyframe+empty_moov"}
    return {"movflags": "faststart"} if clip.faststart else {}


def _encoder_options(codec: str) -> dict[str, str]:
    """Returns settings that keep encoding quick and, where the encoder allows it, the same on every machine."""
    by_codec = {
        "libx264": {"preset": "veryfast", "crf": "20"},
        "libx265": {"preset": "ultrafast", "crf": "20", "x265-params": "log-level=none:pools=none:frame-threads=1"},
        "libvpx": {"deadline": "realtime", "cpu-used": "8", "b": "2M"},
        "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "b": "2M"},
    }
    return by_codec.get(codec, {})
