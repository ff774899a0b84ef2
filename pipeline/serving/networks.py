"""From the models of a site to detectors that the live graph opens, also anew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from watchline.detectors.catalog import Entry
from watchline.detectors.engine import Engine
from watchline.detectors.importer.description import hash_file, hash_model
from watchline.detectors.isolated_engine import IsolatedEngine, can_isolate
from watchline.detectors.network import DetectorOptions, NetworkDetector
from watchline.detectors.opening import engines_folder, open_engine
from watchline.detectors.restarts import Restarts
from watchline.pipeline.crop_faces import SIZE, CropFaces
from watchline.pipeline.live.graph import ModelSettings
from watchline.pipeline.live.pool import Network, Opened
from watchline.pipeline.machine import usable_cpus
from watchline.pipeline.model import Model, find_model, imports, load_model, network_of
from watchline.pipeline.serving.people import FaceParts, People
from watchline.pipeline.site.kept import Faces, Sightings
from watchline.pipeline.site.site import Model as SiteModel
from watchline.reid.embedder import Embedder
from watchline.reid.embeddings import EmbeddingModel, Kind
from watchline.streams.errors import ModelError, UsageError

FAINT = 0.1  # a track lives on by detections too faint to begin one
_KEYS: Final = {Kind.BODY: "sightings", Kind.FACE: "sightings.faces"}
_GPU_BATCH = 8
_GPU_WORKERS = 2  # one prepares a batch while the other's is on the device
_USUAL_SIZE = (1080, 1920)  # height and width of frames that engines are warmed up for


@dataclass(frozen=True, slots=True)
class Networks:
    """Finds and opens the networks of a site.

    Attributes:
        cache: folder of models.
        obtain: brings the file of a catalog entry.
    """

    cache: Path
    obtain: Callable[[Entry], Path]

    def settings(self, name: str, wanted: SiteModel) -> ModelSettings:
        """Returns what the graph needs to run the model that a site calls `name`.

        Raises:
            ModelError: it cannot be had, trusted or imported, or is another than the site says.
            UsageError: there is none of that name.
        """
        model = self._found(name, wanted)
        workers = wanted.workers or usable_cpus()
        trusted = hash_file(model.onnx)

        def open_detector() -> Opened:
            if hash_file(model.onnx) != trusted:
                raise ModelError(
                    f"{model.onnx}: is another file than at the start; have the service read its site again"
                )
            engine = self._engine(name, model, wanted, workers)
            close = getattr(engine, "close", _nothing)
            try:
                iou = engine.card.iou if wanted.iou is None else wanted.iou
                detector = NetworkDetector(engine, DetectorOptions(min(wanted.conf, FAINT), iou, wanted.imgsz))
                batch = partial(_batch, engine, wanted.batch)
                at_once = _at_once(engine, wanted.workers)
                detector.warm_up(*_USUAL_SIZE, at_once, batch())
            except BaseException:
                close()
                raise
            return Opened(detector, lambda: engine.info, close, at_once, batch)

        return ModelSettings(Network(name, model.name, model.sha256), open_detector)

    def people(self, wanted: Sightings, expected: People | None = None) -> People:
        """Returns what describes people.

        Args:
            wanted: what the site says of it.
            expected: what it was before; other vectors than its are refused.

        Raises:
            ModelError: a model cannot be had, trusted or run, or is another than the site says or than before.
            UsageError: there is none of that name, or it does something else.
        """
        body = self._embedder(wanted, wanted, Kind.BODY, expected.body.model if expected else None)
        if wanted.faces is None:
            return People(body)
        finder = CropFaces(wanted.faces.detector, self._face_detector(wanted, wanted.faces))
        before = expected.faces.embedder.model if expected and expected.faces else None
        return People(body, FaceParts(finder, self._embedder(wanted, wanted.faces, Kind.FACE, before)))

    def _embedder(
        self, wanted: Sightings, which: Sightings | Faces, kind: Kind, expected: EmbeddingModel | None
    ) -> Embedder:
        from watchline.pipeline.embedding import open_embedder

        embedder = open_embedder(
            which.model,
            self.cache,
            self.obtain,
            wanted.device,
            kind,
            workers=wanted.workers,
            expected=expected,
            expected_by="the store",
        )
        _check(_KEYS[kind], which.model, embedder.model.sha256, which.sha256)
        return embedder

    def _face_detector(self, wanted: Sightings, faces: Faces) -> NetworkDetector:
        def obtain(entry: Entry) -> Path:
            _expect_faces(faces.detector, entry.task)  # before it is fetched
            return self.obtain(entry)

        found = find_model(faces.detector, self.cache, obtain)
        _check("sightings.faces.detector", faces.detector, hash_model(found.path), faces.detector_sha256)
        network = network_of(found, imports(self.cache))
        engine = open_engine(network, wanted.device, workers=wanted.workers, engines=engines_folder(self.cache))
        _expect_faces(faces.detector, engine.card.task)
        detector = NetworkDetector(engine, DetectorOptions(iou=engine.card.iou, size=SIZE))
        detector.warm_up(SIZE, SIZE // 2, wanted.workers, batch=1)
        return detector

    def _found(self, name: str, wanted: SiteModel) -> Model:
        model = load_model(wanted.model, self.cache, self.obtain)
        _check(f'model "{name}"', wanted.model, model.sha256, wanted.sha256)
        return model

    def _engine(self, name: str, model: Model, wanted: SiteModel, workers: int) -> Engine:
        engines = engines_folder(self.cache)
        isolate = can_isolate() if wanted.isolate is None else wanted.isolate
        if isolate:
            # Its deaths are failures of the detector: the graph alone counts them, and opens another or gives up.
            none = Restarts(most=0)
            return IsolatedEngine(model.onnx, wanted.device, wanted.family, workers, engines, name=name, restarts=none)
        return open_engine(model.onnx, wanted.device, wanted.family, workers, engines)


def _check(whose: str, name: str, sha256: str, wanted: str) -> None:
    """Refuses another file than the site wants, where it wants one.

    Raises:
        ModelError: says how they differ.
    """
    if wanted and sha256 != wanted:
        raise ModelError(
            f"{whose}: {name} has SHA-256 {sha256}, the site wants {wanted}; put the right file there, or write down "
            "the new number once you trust it"
        )


def _expect_faces(name: str, task: str) -> None:
    if task != "face":
        raise UsageError(f"sightings.faces.detector: {name} finds no faces; name a model that does, such as yunet")


def _at_once(engine: Engine, wanted: int) -> int:
    """Returns how many batches are under way at once: on a CPU one a processor, and one prepared meanwhile."""
    if wanted:
        return wanted
    info = engine.info
    return _GPU_WORKERS if info.device != "cpu" else usable_cpus() + info.own_threads


def _batch(engine: Engine, wanted: int) -> int:
    """Returns how many frames share a batch: on a CPU one, for more would cost as much a frame, and delay."""
    return 1 if engine.info.device == "cpu" else wanted or _GPU_BATCH


def _nothing() -> None:
    """Closes an engine that holds nothing."""
