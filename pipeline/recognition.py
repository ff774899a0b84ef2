"""Recognition in a run: tracklets gathered, described and kept, in a store or in a file of features."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from watchline.pipeline.companions import Role, person_class
from watchline.pipeline.findings import Findings
from watchline.pipeline.keeping import FeatureKeeper, Keeper, StoreKeeper
from watchline.pipeline.results import FACE_FEATURES, FEATURES
from watchline.pipeline.sightings import SightingMaker
from watchline.pipeline.store.asking import source_name
from watchline.pipeline.store.seam import Selection, SightingStore
from watchline.pipeline.store.sighting import Provenance
from watchline.reid.collector import Collector, CollectorSettings
from watchline.reid.describe import BodyEmbedder, FaceEmbedder, describe
from watchline.reid.embeddings import EmbeddingModel, Kind
from watchline.reid.tracklet import Tracklet
from watchline.streams.errors import ModelError, UsageError
from watchline.streams.frame import Frame
from watchline.trackers.build import TrackerChoice
from watchline.trackers.tracks import Tracks

_BATCH_PICTURES = 16  # described together: two batches of the size that networks like best
_BATCH_TRACKLETS = 32
_PATIENT = {"default": 5, "reference": 35}  # frames: trackers wait for three at least, those published for thirty
_LONGER = 1.2  # than the tracker waits for a lost track


@dataclass(slots=True)
class Recognition:
    """What a run recognises people with, and where it keeps them.

    Attributes:
        body: describes people; None: nothing does.
        face: describes faces; None: nothing does.
        store: keeps sightings; None: what describes people goes into files beside the other results.
        store_name: the store's file, as the user named it; "" for none.
    """

    body: BodyEmbedder | None = None
    face: FaceEmbedder | None = None
    store: SightingStore | None = None
    store_name: str = ""

    @property
    def models(self) -> tuple[EmbeddingModel, ...]:
        """What describes."""
        return tuple(each.model for each in (self.body, self.face) if each is not None)

    def make_store(self) -> None:
        """Makes the store that is to be and is not there yet; closed by the caller.

        Raises:
            OutputError: it cannot be made.
        """
        if self.store is None and self.store_name:
            from watchline.pipeline.store.sqlite import open_store

            self.store = open_store(Path(self.store_name))

    def keeper(self, made_by: Provenance, folder: Path) -> Keeper:
        """Returns what keeps the tracklets of one input: the store, or files in `folder`."""
        if self.store is not None:
            return StoreKeeper(self.store, SightingMaker(made_by))
        files = {Kind.BODY: FEATURES, Kind.FACE: FACE_FEATURES}
        return FeatureKeeper({model: folder / files[model.kind] for model in self.models}, made_by.source)


@dataclass(frozen=True, slots=True)
class SightingFacts:
    """What became of the people of one input.

    Attributes:
        store: file of the store; None for none.
        tracklets: gathered: tracks, the long ones in parts.
        described: of these, by at least one vector.
        without_picture: of these, such of which no picture was good enough, by the reason.
        stored: sightings that the store kept.
        refused: sightings that it did not.
        dropped: what was left out to stay within bounds: "pictures", "tracks", "features".
        models: what described them.
    """

    store: str | None
    tracklets: int
    described: int
    without_picture: dict[str, int]
    stored: int
    refused: int
    dropped: dict[str, int]
    models: tuple[EmbeddingModel, ...]


@dataclass(slots=True)
class _Waiting:
    """Tracklets that wait to be described together."""

    tracklets: list[Tracklet] = field(default_factory=list)
    pictures: int = 0

    def add(self, tracklet: Tracklet) -> None:
        self.tracklets.append(tracklet)
        self.pictures += len(tracklet.crops) + len(tracklet.faces)

    @property
    def is_full(self) -> bool:
        return self.pictures >= _BATCH_PICTURES or len(self.tracklets) >= _BATCH_TRACKLETS


class SightingSink:
    """A `Sink` that gathers tracklets, has them described and kept; a model or store that fails does not end the run.

    Args:
        collector: of this input alone.
        recognition: what describes them.
        keeper: where they go.
    """

    name = "reid"

    def __init__(self, collector: Collector, recognition: Recognition, keeper: Keeper) -> None:
        self._collector = collector
        self._body, self._face = recognition.body, recognition.face
        self._models = recognition.models
        self._store_name = recognition.store_name or None
        self._keeper = keeper
        self._waiting = _Waiting()
        self._described = 0
        self._model_problem = ""

    def write(self, frame: Frame, findings: Findings, tracks: Tracks) -> None:
        """Looks at one frame."""
        self._take(self._collector.look(frame, tracks, findings.face_of))

    def close(self) -> None:
        """Describes and keeps what is left."""
        self._take(self._collector.finish())
        self._describe()
        self._keeper.close()

    @property
    def problems(self) -> tuple[str, ...]:
        """What went wrong, in sentences for a person."""
        return tuple(problem for problem in (self._model_problem, self._keeper.problem) if problem)

    def facts(self) -> SightingFacts:
        """Returns what became of the people; complete once the sink is closed."""
        gathered = self._collector.gathered
        dropped = Counter(
            pictures=gathered.given_up, tracks=gathered.refused + gathered.ended_early, features=self._keeper.dropped
        )
        return SightingFacts(
            store=self._store_name,
            tracklets=gathered.tracklets,
            described=self._described,
            without_picture=dict(gathered.without_crop),
            stored=self._keeper.stored,
            refused=self._keeper.refused,
            dropped={what: count for what, count in dropped.items() if count},
            models=self._models,
        )

    def _take(self, tracklets: Sequence[Tracklet]) -> None:
        for tracklet in tracklets:
            self._waiting.add(tracklet)
            if self._waiting.is_full:
                self._describe()

    def _describe(self) -> None:
        tracklets, self._waiting = self._waiting.tracklets, _Waiting()
        if not tracklets:
            return
        try:
            embeddings = describe(tracklets, self._body, self._face)
        except ModelError as error:
            self._model_problem = f"people are no longer described: {error}"
            self._body = self._face = None
            embeddings = [() for _ in tracklets]
        self._described += sum(bool(each) for each in embeddings)
        self._keeper.keep(tracklets, embeddings)


def people_line(facts: SightingFacts) -> str:
    """Returns what became of the people, on one line.

    >>> people_line(SightingFacts("site.db", 3, 0, {"too small": 1}, 2, 1, {}, ()))
    '3 tracklets, 1 without a picture (1 too small), 2 stored in site.db, 1 not stored'
    """
    parts = [f"{facts.tracklets} tracklet{'s' * (facts.tracklets != 1)}"]
    if facts.models:
        parts.append(f"{facts.described} described")
    if facts.without_picture:
        reasons = ", ".join(f"{count} {reason}" for reason, count in facts.without_picture.items())
        parts.append(f"{sum(facts.without_picture.values())} without a picture ({reasons})")
    if facts.store:
        parts.append(f"{facts.stored} stored in {facts.store}")
    if facts.refused:
        parts.append(f"{facts.refused} not stored")
    return ", ".join([*parts, *(f"{count} {what} left out" for what, count in facts.dropped.items())])


@contextmanager
def claimed_input(recognition: Recognition | None, spec: str, *, overwrite: bool) -> Iterator[None]:
    """Keeps other runs from filling the store, if there is one, from the same input; a kill lets go of it.

    Args:
        recognition: None for none.
        spec: the input.
        overwrite: what the store holds of it is to be replaced; else it is refused: it would all be there twice.

    Raises:
        UsageError: another run fills the store from it, or did.
        OutputError: the store cannot be read.
    """
    store = recognition.store if recognition else None
    if recognition is None or store is None:
        yield
        return
    source = source_name(spec)
    with store.claim(source):
        count = 0 if overwrite else store.count(Selection(source=source))
        if count:
            raise UsageError(
                f"{recognition.store_name}: holds {count} sighting{'s' * (count != 1)} of {spec} already, from a run "
                "that ended or was broken off; choose another --store, or replace them with --overwrite"
            )
        yield


def forget(recognition: Recognition, spec: str) -> None:
    """Erases the sightings of an input from the store, if there is one and it holds some.

    Raises:
        OutputError: they cannot be erased.
    """
    selection = Selection(source=source_name(spec))
    if recognition.store and recognition.store.count(selection):
        recognition.store.erase(selection)


def check_people(recognition: Recognition, roles: Sequence[Role], classes: Sequence[str]) -> None:
    """Refuses to recognise people where none can be found.

    Args:
        recognition: what is to recognise them.
        roles: the run's models, the first one first.
        classes: names of the classes that are asked for; empty means all.

    Raises:
        UsageError: says what is missing.
    """
    label = roles[0].card.labels[person_class(roles[0])]
    if classes and label not in classes:
        raise UsageError(f"--classes {','.join(classes)}: leaves out whom sightings are of; add {label}")
    if recognition.face and not any(role.card.task == "face" for role in roles):
        raise UsageError(
            f"--face-reid {recognition.face.model.name}: no model looks for faces; "
            "name one that does, such as --model yolov8n --model yunet"
        )


def collecting(first: Role, tracker: TrackerChoice, interval_s: float) -> CollectorSettings:
    """Returns how people are gathered.

    Args:
        first: the model that finds them.
        tracker: how they are followed; a track is over no earlier than it says.
        interval_s: usual time between two frames, seconds.
    """
    asked = [float(text.partition("=")[2]) for text in tracker.settings if text.partition("=")[0].strip() == "lost_s"]
    default = CollectorSettings()
    waits_s = max([default.end_after_s, _PATIENT[tracker.preset] * interval_s, *(_LONGER * lost_s for lost_s in asked)])
    return replace(default, people=(first.card.labels[person_class(first)],), end_after_s=waits_s)
