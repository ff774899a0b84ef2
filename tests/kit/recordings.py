"""Recordings: encoded pictures with known numbers, in a file that a program without NumPy reads at once.

The file is a length (4 bytes, big endian), a JSON header of that length, then for each access unit its length (4
bytes), one byte that is 1 for a keyframe, and its bytes: Annex B for H.264 and H.265, a JPEG for MJPEG.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.kit import barcode

if TYPE_CHECKING:
    from av import VideoCodecContext, VideoFrame

U8 = NDArray[np.uint8]

Codec = Literal["h264", "h265", "mjpeg"]
Record = Callable[["Scene"], Path]

_NOISE_MARGIN = 32  # each picture takes its noise from another place of one larger sheet
_MID_GREY = 110


@dataclass(frozen=True, slots=True)
class Scene:
    """What a recording shows and how it is encoded; there are never B frames.

    Attributes:
        frames: pictures; a server plays them in a loop, so that numbers repeat after `frames`.
        gop: pictures from one keyframe to the next.
        first_number: number in the first picture.
        noise: strength of the sensor noise, standard deviation in levels of 0 to 255; 0 for none.
        moving: a square crosses the picture; without it only noise and barcode differ between pictures.
        numbered: pictures carry the barcode.
        slices: slices a picture (H.264 and H.265). Several slices with parameter sets between them make FFmpeg split
            a picture, so that one is the default.
        bit_rate: bits a second; None for a constant quality.
        clip: a video file whose pictures take the place of the made scene, scaled to the size.
    """

    codec: Codec = "h264"
    width: int = 320
    height: int = 240
    fps: int = 25
    frames: int = 250
    gop: int = 25
    first_number: int = 0
    noise: float = 3.0
    moving: bool = True
    numbered: bool = True
    slices: int = 1
    bit_rate: int | None = None
    clip: str | None = None


@dataclass(frozen=True, slots=True)
class Unit:
    """One encoded picture."""

    content: bytes
    keyframe: bool


def write_recording(path: Path, scene: Scene) -> Path:
    """Draws and encodes `scene` into `path` and returns the path.

    Raises:
        ValueError: a value of the scene is out of its range.
    """
    header = json.dumps(asdict(scene)).encode()
    with path.open("wb") as out:
        out.write(struct.pack(">I", len(header)) + header)
        count = 0
        for unit in encode(scene):
            out.write(struct.pack(">IB", len(unit.content), unit.keyframe) + unit.content)
            count += 1
    if count != scene.frames:
        raise ValueError(f"clip: want {scene.frames} pictures, the encoder gave {count}")
    return path


def read_recording(path: Path) -> tuple[Scene, list[Unit]]:
    """Returns what `path` holds."""
    content = path.read_bytes()
    (length,) = struct.unpack_from(">I", content)
    scene, at, units = Scene(**json.loads(content[4 : 4 + length])), 4 + length, []
    while at < len(content):
        size, keyframe = struct.unpack_from(">IB", content, at)
        units.append(Unit(content[at + 5 : at + 5 + size], bool(keyframe)))
        at += 5 + size
    return scene, units


def encode(scene: Scene) -> Iterator[Unit]:
    """Yields the encoded pictures of `scene` in order.

    Raises:
        ValueError: a value of the scene is out of its range.
    """
    if min(scene.frames, scene.gop, scene.fps, scene.slices) < 1:
        raise ValueError(f"scene: want at least 1 for frames, gop, fps and slices, got {scene}")
    encoder = _encoder(scene)
    for index, frame in enumerate(_pictures(scene)):
        frame.pts, frame.time_base = index, Fraction(1, scene.fps)
        for packet in encoder.encode(frame):
            yield Unit(bytes(packet), packet.is_keyframe)
    for packet in encoder.encode(None):
        yield Unit(bytes(packet), packet.is_keyframe)


@pytest.fixture(scope="session")
def record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    """Returns a function that gives the file of a scene; each scene is encoded once a session."""
    folder = tmp_path_factory.mktemp("recordings")
    made: dict[Scene, Path] = {}

    def get(scene: Scene) -> Path:
        if scene not in made:
            made[scene] = write_recording(folder / f"{len(made)}-{scene.codec}.rec", scene)
        return made[scene]

    return get


def _encoder(scene: Scene) -> VideoCodecContext:
    from av import VideoCodecContext

    name = {"h264": "libx264", "h265": "libx265", "mjpeg": "mjpeg"}[scene.codec]
    encoder = VideoCodecContext.create(name, "w")
    if not isinstance(encoder, VideoCodecContext):
        raise ValueError(f"codec: want one for video, got {name}")
    encoder.width, encoder.height = scene.width, scene.height
    encoder.pix_fmt = "yuvj420p" if scene.codec == "mjpeg" else "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, scene.fps), Fraction(scene.fps)
    encoder.gop_size, encoder.max_b_frames, encoder.thread_count = scene.gop, 0, 1
    if scene.bit_rate is not None:
        encoder.bit_rate = scene.bit_rate
    encoder.options = _encoder_options(scene)
    return encoder


def _encoder_options(scene: Scene) -> dict[str, str]:
    every = f"keyint={scene.gop}:min-keyint={scene.gop}:scenecut=0:bframes=0:slices={scene.slices}"
    # Fine enough that sensor noise outlives it: a still scene must not become the same picture again and again.
    quality = {} if scene.bit_rate is not None else {"crf": "22" if scene.codec == "h264" else "20"}
    if scene.codec == "h264":
        return {"preset": "ultrafast", "tune": "zerolatency", "x264-params": f"{every}:sliced-threads=0", **quality}
    if scene.codec == "h265":
        # A closed GOP: every keyframe is an IDR, after which a decoder may start, and which a frozen camera may repeat.
        quiet = "open-gop=0:log-level=none:pools=none:frame-threads=1:repeat-headers=1"
        return {"preset": "ultrafast", "tune": "zerolatency", "x265-params": f"{every}:{quiet}", **quality}
    # RTP carries no Huffman tables: a receiver takes those of the JPEG standard.
    return {"huffman": "default", **({} if scene.bit_rate is not None else {"qmin": "5", "qmax": "5"})}


def _pictures(scene: Scene) -> Iterator[VideoFrame]:
    """Yields the frames to encode, planar YUV with 4:2:0 chroma."""
    from av import VideoFrame

    noise = _noise_sheet(scene)
    places = np.random.default_rng(1)
    for index, picture in zip(range(scene.frames), _scenes(scene), strict=False):
        if noise is not None:
            y, x = (int(place) for place in places.integers(0, _NOISE_MARGIN, 2))
            plane = picture[: scene.height]
            shifted = plane.view(np.uint8) + noise[y : y + scene.height, x : x + scene.width]
            picture[: scene.height] = shifted
        if scene.numbered:
            barcode.draw(picture[: scene.height], scene.first_number + index)
        yield VideoFrame.from_ndarray(picture, format="yuv420p" if scene.codec != "mjpeg" else "yuvj420p")


def _noise_sheet(scene: Scene) -> U8 | None:
    """Returns noise to add modulo 256, larger than a picture; None where the scene has none."""
    if scene.noise <= 0:
        return None
    shape = (scene.height + _NOISE_MARGIN, scene.width + _NOISE_MARGIN)
    levels = np.random.default_rng(0).normal(0, scene.noise, shape).round().clip(-16, 16)
    return levels.astype(np.int8).view(np.uint8)


def _scenes(scene: Scene) -> Iterator[U8]:
    """Yields (H * 3 / 2, W) uint8 YUV pictures without noise and number, luma from 32 to 220: noise never wraps."""
    if scene.clip is not None:
        yield from _clip_pictures(scene)
        return
    empty = np.full((scene.height * 3 // 2, scene.width), 128, np.uint8)
    empty[: scene.height] = np.linspace(_MID_GREY - 50, _MID_GREY + 50, scene.width, dtype=np.uint8)
    side = scene.height // 5
    for index in range(scene.frames):
        picture = empty.copy()
        if scene.moving:
            left, top = index * 4 % (scene.width - side), scene.height // 2
            picture[top : top + side, left : left + side] = 200
        yield picture


def _clip_pictures(scene: Scene) -> Iterator[U8]:
    """Yields the pictures of the clip, from its start again when it is too short."""
    import av

    left = scene.frames
    while left > 0:
        with av.open(str(scene.clip)) as container:
            for frame in container.decode(video=0):
                scaled = frame.reformat(scene.width, scene.height, "yuv420p")
                picture = scaled.to_ndarray().astype(np.uint8, copy=False)
                picture[: scene.height] = picture[: scene.height].clip(32, 220)
                yield picture
                left -= 1
