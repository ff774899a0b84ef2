"""How the tests read a source to its end."""

from __future__ import annotations

from pathlib import Path

from tests.clips import read_number
from watchline.streams.frame import Frame
from watchline.streams.libav import FileSource
from watchline.streams.source import Source, SourceReport


def read_all(source: Source) -> list[Frame]:
    frames = []
    while (frame := source.read()) is not None:
        frames.append(frame)
    return frames


def read_file(path: Path) -> tuple[list[Frame], SourceReport]:
    source = FileSource(path, "gate")
    frames = read_all(source)
    report = source.report()
    source.close()
    return frames, report


def numbers(frames: list[Frame]) -> list[int]:
    return [read_number(frame.rgb()) for frame in frames]
