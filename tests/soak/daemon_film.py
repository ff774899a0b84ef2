"""A recording as a video file, without encoding it again."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from tests.kit.recordings import read_recording


def write_film(path: Path, recording: Path) -> Path:
    """Writes the pictures of an H.264 recording into an MP4 file."""
    import av

    scene, units = read_recording(recording)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=scene.fps)
        stream.width, stream.height, stream.pix_fmt = scene.width, scene.height, "yuv420p"
        for index, unit in enumerate(units):
            packet = av.Packet(unit.content)
            packet.stream = stream
            packet.time_base = Fraction(1, scene.fps)
            packet.pts = packet.dts = index
            packet.duration = 1
            packet.is_keyframe = unit.keyframe
            out.mux(packet)
    return path
