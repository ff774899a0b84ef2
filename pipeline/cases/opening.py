"""From the names or files of models to what finds people in photos."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from watchline.pipeline.cases.subjects import PeopleFinder
from watchline.pipeline.video_crops import PEOPLE
from watchline.reid.quality import FACE_GATE
from watchline.streams.errors import UsageError

if TYPE_CHECKING:
    from watchline.detectors.catalog import Entry
    from watchline.detectors.engine import Engine

_IOU: Final = 0.5  # in a photo a second box on one person does more harm than somebody missed behind another


def open_finder(
    detector: str, face_detector: str, cache: Path, obtain: Callable[[Entry], Path], device: str = "auto"
) -> PeopleFinder:
    """Returns what finds the people in photos.

    Args:
        detector: finds people; catalog name or file.
        face_detector: finds faces; "" for none.
        cache: folder of fetched models.
        obtain: brings the file of a catalog entry.
        device: where the networks run.

    Raises:
        UsageError: a model finds no people, or no faces; or the device is not there.
        ModelError: a model cannot be had, trusted or run.
        OutputError: the cache cannot be written.
    """
    from watchline.detectors.network import DetectorOptions, NetworkDetector

    engine = _engine(detector, cache, obtain, device)
    if not set(PEOPLE) & set(engine.card.labels) or engine.card.task == "face":
        shown = ", ".join(engine.card.labels[:5])
        raise UsageError(f"--detector {detector}: finds {shown}, and no person; name one that does, such as yolov8n")
    people = NetworkDetector(engine, DetectorOptions(iou=_IOU, classes=PEOPLE))
    if not face_detector:
        return PeopleFinder(people)
    engine = _engine(face_detector, cache, obtain, device)
    if engine.card.task != "face":
        raise UsageError(f"--face-detector {face_detector}: finds no faces; name one that does, such as yunet")
    return PeopleFinder(people, NetworkDetector(engine, DetectorOptions(FACE_GATE.least_score, engine.card.iou)))


def _engine(name: str, cache: Path, obtain: Callable[[Entry], Path], device: str) -> Engine:
    from watchline.detectors.opening import engines_folder, open_engine
    from watchline.pipeline.model import load_model

    return open_engine(load_model(name, cache, obtain).onnx, device, engines=engines_folder(cache))
