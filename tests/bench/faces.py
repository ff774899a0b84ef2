"""Faces on the pictures that are kept of people, beside faces on whole frames: of how many people, at what cost.

`python -m tests.bench.faces [--faces NAME|FILE] [--data FOLDER]`. Frames are looked at as `watchline run` does,
pictures as the daemon does; all frames, and five a second, as many times as there are frames to begin with.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeAlias

from tests.bench.table import table
from watchline.detectors.catalog import Entry
from watchline.detectors.fetch import default_cache, fetch
from watchline.detectors.network import DetectorOptions, NetworkDetector
from watchline.detectors.opening import open_engine
from watchline.pipeline.companions import Companion, Role, companion
from watchline.pipeline.crop_faces import SIZE, CropFaces
from watchline.pipeline.findings import Findings
from watchline.pipeline.model import load_model
from watchline.pipeline.serving.sightings import gathering
from watchline.pipeline.site.kept import Faces, Sightings
from watchline.reid.collector import Collector, CollectorSettings, no_faces
from watchline.reid.tracklet import Tracklet
from watchline.streams.libav import FileSource
from watchline.trackers.build import build_tracker

ROOT: Final = Path(__file__).resolve().parent.parent.parent
CLIPS: Final = ("people-walking", "pedestrians")
FPS: Final = 5.0

Way: TypeAlias = tuple[str, int, int]  # where faces are looked for, one frame in how many, and the first of these


@dataclass(frozen=True, slots=True)
class Models:
    """What finds people, faces on frames, and faces on pictures."""

    people: NetworkDetector
    frames: Companion
    pictures: CropFaces


def load(people: Path, faces: str) -> Models:
    """Returns the models, which run on the processor."""
    cache = default_cache()

    def obtain(entry: Entry) -> Path:
        return fetch(entry, cache)

    found = [load_model(name, cache, obtain) for name in (str(people), faces)]
    person, face = (open_engine(model.onnx, "cpu") for model in found)
    roles = [Role(model.name, model.sha256, engine.card) for model, engine in zip(found, (person, face), strict=True)]
    options = DetectorOptions(iou=face.card.iou)
    return Models(
        NetworkDetector(person, DetectorOptions(0.1, person.card.iou)),
        companion(roles[1], NetworkDetector(face, options), roles[0]),
        CropFaces(faces, NetworkDetector(face, replace(options, size=SIZE))),
    )


def gathered(clip: Path, models: Models) -> tuple[dict[Way, list[Tracklet]], float]:
    """Returns the tracklets of a clip each way, and the CPU seconds that faces of all its frames took."""
    source, spent_s = FileSource(clip, clip.stem, threads=2), 0.0
    tracker, step = build_tracker(interval_s=1 / source.info.fps, score=0.25), round(source.info.fps / FPS)
    settings = {"frames": CollectorSettings(), "pictures": gathering(Sightings(faces=Faces()))}
    ways = {
        (where, every, first): Collector(clip.stem, models.people.labels, each)
        for where, each in settings.items()
        for every in (1, step)
        for first in range(every)
    }
    ended: dict[Way, list[Tracklet]] = {way: [] for way in ways}
    while (frame := source.read()) is not None:
        findings = Findings(models.people.detect([frame])[0])
        tracks = tracker.update(findings.detections, frame.pts_s)
        begun_s = time.process_time()
        (findings,) = models.frames.add([frame], [findings])
        spent_s += time.process_time() - begun_s
        for (where, every, first), collector in ways.items():
            if frame.sequence % every == first:
                faces = findings.face_of if where == "frames" else no_faces
                ended[where, every, first] += collector.look(frame, tracks, faces)
    return {way: [*ended[way], *collector.finish()] for way, collector in ways.items()}, spent_s


def rows_of(clip: Path, models: Models) -> Iterator[list[str]]:
    """Yields the table's rows of a clip; each number is the mean of those with other first frames."""
    tracklets, frames_s = gathered(clip, models)
    for every in sorted({every for _, every, _ in tracklets}):
        counts, pictures_s = [], 0.0
        for first in range(every):
            on_frames = tracklets["frames", every, first]
            begun_s = time.process_time()
            on_pictures = [models.pictures.find(tracklet) for tracklet in tracklets["pictures", every, first]]
            pictures_s += time.process_time() - begun_s
            one, other = ({each.track_id for each in found if each.faces} for found in (on_frames, on_pictures))
            counts.append((len(one), len(other), len(one & other)))
        means = [f"{sum(column) / every:.1f}" for column in zip(*counts, strict=True)]
        rate = "all" if every == 1 else f"1 in {every}"
        yield [clip.stem, rate, *means, f"{frames_s / every:.2f}", f"{pictures_s / every:.2f}"]


def main() -> None:
    """Measures and prints a table."""
    data = Path(os.environ.get("WATCHLINE_TEST_DATA", ROOT.parent / "shared" / "data"))
    parser = argparse.ArgumentParser(prog="python -m tests.bench.faces", description=__doc__)
    parser.add_argument("--data", type=Path, default=data)
    parser.add_argument("--faces", default=str(data / "models" / "face_detection_yunet_2026may.onnx"))
    arguments = parser.parse_args()
    models = load(arguments.data / "models" / "yolov8n.pt", arguments.faces)
    rows = [row for clip in CLIPS for row in rows_of(arguments.data / "clips" / f"{clip}.mp4", models)]
    head = ("clip", "frames", "tracks with a face, on frames", "on pictures", "on both", "CPU s, frames", "pictures")
    print(table(head, rows, left=2))


if __name__ == "__main__":
    main()
