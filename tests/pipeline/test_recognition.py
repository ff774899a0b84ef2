"""Recognition in a run: tracklets become sightings or features, and neither model nor store ends a run."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from tests.fakes import make_detections
from tests.reid.test_collector import BOX, LABELS, frame, tracks
from tests.reid.test_describe import BODY, FACE, MeanColour, crop, tracklet
from watchline.detectors.boxes import F32
from watchline.detectors.card import ModelCard
from watchline.pipeline.companions import Role
from watchline.pipeline.findings import Findings
from watchline.pipeline.keeping import FeatureKeeper, StoreKeeper
from watchline.pipeline.recognition import (
    Recognition,
    SightingSink,
    check_people,
    claimed_input,
    collecting,
    forget,
    people_line,
)
from watchline.pipeline.sightings import SightingMaker, config_sha256, sighting_of
from watchline.pipeline.store.asking import source_name
from watchline.pipeline.store.ids import Ids
from watchline.pipeline.store.seam import Selection, SightingStore
from watchline.pipeline.store.sighting import Provenance, Sighting
from watchline.reid.collector import Collector, CollectorSettings
from watchline.reid.describe import describe
from watchline.reid.embeddings import Kind
from watchline.reid.features import read_features
from watchline.streams.errors import ModelError, OutputError, UsageError
from watchline.streams.frame import U8
from watchline.trackers.build import TrackerChoice

MADE_BY = Provenance("/videos/yard.mp4", "yolov8n", "d" * 64, "bytetrack (native)", "c" * 64, "0.1.0")
UNFIT = 99  # a track that no store takes
NOBODY = Findings(make_detections())


class MemoryStore:
    """Keeps sightings in memory; refuses as often as it is told to."""

    def __init__(self, refusals: int = 0) -> None:
        self.sightings: list[Sighting] = []
        self.calls = 0
        self._refusals = refusals

    def add(self, sightings: Sequence[Sighting]) -> None:
        self.calls += 1
        if self.calls <= self._refusals:
            raise OutputError("site.db: no room left on its disk; free some, or keep less")
        if any(each.track_id == UNFIT for each in sightings):
            raise UsageError("site.db: one of them cannot be stored")
        self.sightings += sightings

    def count(self, selection: Selection) -> int:
        return sum(each.provenance.source == selection.source for each in self.sightings)

    def erase(self, selection: Selection) -> None:
        self.sightings = [each for each in self.sightings if each.provenance.source != selection.source]

    def claim(self, source: str) -> AbstractContextManager[None]:
        return nullcontext()

    def seam(self) -> SightingStore:
        return cast("SightingStore", self)


class BrokenModel(MeanColour):
    """Fails from its second call on."""

    def embed(self, crops: Sequence[U8]) -> F32:
        if self.calls:
            raise ModelError("body: the device is gone")
        return super().embed(crops)


def keeper(store: MemoryStore, again_s: float = 0.0, most_waiting: int = 100) -> StoreKeeper:
    return StoreKeeper(store.seam(), SightingMaker(MADE_BY), again_s, most_waiting)


def keep(keeper: StoreKeeper | FeatureKeeper, *track_ids: int) -> None:
    tracklets = [tracklet(crop(9, 0, 0), track_id=i) for i in track_ids]
    keeper.keep(tracklets, describe(tracklets, MeanColour()))


def watch(sink: SightingSink, people: int, frames: int = 3) -> None:
    """Shows `people` who each come and go, one after the other."""
    for i in range(people * frames):
        sink.write(frame(i * 10.0 / frames), NOBODY, tracks((i // frames + 1, BOX)))
    sink.close()


class TestSightings:
    def test_a_sighting_is_its_tracklet_with_jpegs_and_small_vectors(self) -> None:
        seen = tracklet(crop(200, 0, 0, quality=0.4), crop(190, 0, 0, quality=0.6), faces=[crop(0, 200, 0)])
        ((body, face),) = describe([seen], MeanColour(), MeanColour(FACE))
        sighting = SightingMaker(MADE_BY).make(seen, (body, face))
        assert (sighting.camera, sighting.track_id, sighting.label, sighting.clock) == ("yard", 1, "person", "file")
        assert (sighting.quality, sighting.reason, sighting.provenance) == (0.6, "", MADE_BY)
        assert [(each.kind, each.jpeg[:2]) for each in sighting.crops] == [
            (Kind.BODY, b"\xff\xd8"), (Kind.BODY, b"\xff\xd8"), (Kind.FACE, b"\xff\xd8")
        ]  # fmt: skip
        assert sighting.crops[0].xyxy == (1, 2, 3, 6)
        assert [(v.model, v.crops, v.quality) for v in sighting.vectors] == [(BODY, 2, 0.6), (FACE, 1, 0.5)]
        assert sighting.vectors[0].vector.dtype == np.float16

    def test_parts_of_a_track_share_a_key_and_tracks_do_not(self) -> None:
        maker = SightingMaker(MADE_BY)
        parts = [replace(tracklet(), part=i, is_last=i == 2) for i in range(3)]
        first = [maker.make(part, ()) for part in parts]
        again = maker.make(parts[2], ())  # the same number, another track
        assert len({each.track_key for each in first}) == 1
        assert again.track_key != first[0].track_key
        ids = [each.sighting_id for each in (*first, again)]
        assert ids == sorted(set(ids))
        assert len(maker._keys) == 0

    def test_pictures_that_are_not_kept_are_not_encoded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("watchline.pipeline.sightings.jpeg_of", lambda _rgb: pytest.fail("it was encoded"))
        seen = tracklet(crop(200, 0, 0, quality=0.6), faces=[crop(0, 200, 0)])
        sighting = sighting_of(Ids(), seen, describe([seen], MeanColour())[0], "key", MADE_BY, pictures=False)
        assert (sighting.track_key, sighting.crops, sighting.quality) == ("key", (), 0.6)
        assert [each.quality for each in sighting.vectors] == [0.6]

    def test_an_input_is_one_source_however_it_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        assert source_name("yard.mp4") == source_name("./yard.mp4") == source_name(str(tmp_path / "yard.mp4"))

    def test_options_have_one_digest_whatever_their_order(self) -> None:
        assert config_sha256(CollectorSettings()) == config_sha256(CollectorSettings())
        assert config_sha256(CollectorSettings()) != config_sha256(CollectorSettings(crops=4))


class TestKeepers:
    def test_a_store_gets_what_is_kept_at_once(self) -> None:
        store = MemoryStore()
        mine = keeper(store)
        keep(mine, 1, 2)
        assert len(store.sightings) == 2
        mine.close()
        assert (mine.stored, mine.refused, mine.problem) == (2, 0, "")

    def test_what_a_store_refuses_waits_and_is_kept_once_there_is_room(self) -> None:
        store = MemoryStore(refusals=2)
        mine = keeper(store)
        for i in range(4):
            keep(mine, i)
        mine.close()
        assert [each.track_id for each in store.sightings] == [0, 1, 2, 3]
        assert (mine.stored, mine.refused, mine.problem) == (4, 0, "")

    def test_a_store_that_goes_on_refusing_is_left_in_peace_and_the_rest_is_counted(self) -> None:
        store = MemoryStore(refusals=99)
        mine = keeper(store, again_s=60, most_waiting=3)
        for i in range(10):
            keep(mine, i)
        assert (store.calls, mine.refused, len(mine._waiting)) == (1, 7, 3)
        mine.close()
        assert (store.calls, mine.stored, mine.refused) == (2, 0, 10)
        assert mine.problem == "10 sightings not stored: site.db: no room left on its disk; free some, or keep less"

    def test_one_that_cannot_be_stored_costs_itself_alone(self) -> None:
        store = MemoryStore()
        mine = keeper(store)
        keep(mine, 1, UNFIT, 2)
        keep(mine, 3)
        mine.close()
        assert [each.track_id for each in store.sightings] == [1, 2, 3]
        assert (mine.stored, mine.refused) == (3, 1)
        assert mine.problem == "1 sighting not stored: site.db: one of them cannot be stored"

    def test_features_are_a_row_a_tracklet_with_its_best_picture(self, tmp_path: Path) -> None:
        path = tmp_path / "features.npz"
        mine = FeatureKeeper({BODY: path}, "/videos/yard.mp4", most=2)
        seen = [tracklet(crop(9, 0, 0, pts_s=1, quality=0.3), crop(9, 1, 0, pts_s=2, quality=0.7)), tracklet()]
        mine.keep(seen, describe(seen, MeanColour()))
        keep(mine, 5, 6)
        mine.close()
        features = read_features(path)
        assert features.names.tolist() == ["yard track 1 part 0", "yard track 5 part 0"]
        assert features.file.tolist() == ["/videos/yard.mp4"] * 2
        assert (features.time_s[0], features.model, mine.dropped) == (2, BODY, 1)
        assert features.quality[0] == pytest.approx(0.7)

    def test_a_file_of_no_features_is_a_file_too(self, tmp_path: Path) -> None:
        mine = FeatureKeeper({BODY: tmp_path / "features.npz"}, "yard.mp4")
        mine.close()
        assert read_features(tmp_path / "features.npz").vectors.shape == (0, 3)

    def test_a_file_that_cannot_be_written_is_told(self, tmp_path: Path) -> None:
        mine = FeatureKeeper({BODY: tmp_path / "gone" / "features.npz"}, "yard.mp4")
        mine.close()
        assert "gone" in mine.problem


class TestSink:
    def test_people_are_gathered_described_and_stored(self) -> None:
        store, embedder = MemoryStore(), MeanColour()
        recognition = Recognition(embedder, None, store.seam(), "site.db")
        sink = SightingSink(Collector("yard", LABELS), recognition, keeper(store))
        watch(sink, people=3)
        facts = sink.facts()
        assert (facts.tracklets, facts.described, facts.stored, facts.refused) == (3, 3, 3, 0)
        assert (facts.store, facts.models, sink.problems) == ("site.db", (BODY,), ())
        assert [len(each.vectors) for each in store.sightings] == [1, 1, 1]
        assert len(embedder.calls) == 1  # all of them together

    def test_a_model_that_fails_costs_the_vectors_alone(self) -> None:
        store = MemoryStore()
        recognition = Recognition(BrokenModel(), None, store.seam(), "site.db")
        sink = SightingSink(Collector("yard", LABELS), recognition, keeper(store))
        watch(sink, people=40)
        facts = sink.facts()
        assert 0 < facts.described < facts.stored == facts.tracklets == 40
        assert sink.problems == ("people are no longer described: body: the device is gone",)
        assert facts.models == (BODY,)

    def test_without_a_model_there_are_sightings_without_vectors(self) -> None:
        store = MemoryStore()
        sink = SightingSink(Collector("yard", LABELS), Recognition(None, None, store.seam(), "site.db"), keeper(store))
        watch(sink, people=1)
        assert [each.vectors for each in store.sightings] == [()]
        assert people_line(sink.facts()) == "1 tracklet, 1 stored in site.db"

    def test_what_is_not_seen_well_is_told_by_the_reason(self) -> None:
        store = MemoryStore()
        sink = SightingSink(Collector("yard", LABELS), Recognition(MeanColour(), None, store.seam()), keeper(store))
        sink.write(frame(0), NOBODY, tracks((1, (10, 10, 20, 30)), (2, BOX)))
        sink.close()
        assert people_line(sink.facts()) == "2 tracklets, 1 described, 1 without a picture (1 too small)"


class TestChecks:
    def test_an_input_that_the_store_knows_is_refused_and_can_be_forgotten(self) -> None:
        store = MemoryStore()
        recognition = Recognition(None, None, store.seam(), "site.db")
        with claimed_input(recognition, "/videos/yard.mp4", overwrite=False):
            keep(keeper(store), 1, 2)
        with (
            pytest.raises(UsageError, match=r"site\.db: holds 2 sightings of /videos/yard\.mp4 already.*--overwrite"),
            claimed_input(recognition, "/videos/yard.mp4", overwrite=False),
        ):
            pass
        with claimed_input(recognition, "/videos/other.mp4", overwrite=False):
            pass
        with claimed_input(recognition, "/videos/yard.mp4", overwrite=True):
            forget(recognition, "/videos/yard.mp4")
        assert store.sightings == []
        with claimed_input(Recognition(MeanColour()), "/videos/yard.mp4", overwrite=False):
            pass

    @pytest.mark.parametrize(
        ("labels", "classes", "said"),
        [(("person", "car"), ("car",), "--classes car: leaves out"), (("car", "dog"), (), "finds no people")],
    )
    def test_a_run_that_can_find_nobody_is_refused(
        self, labels: tuple[str, ...], classes: tuple[str, ...], said: str
    ) -> None:
        role = Role("tiny.onnx", "a" * 64, ModelCard("yolov8", "detect", labels, (8, 16, 32)))
        with pytest.raises(UsageError, match=said):
            check_people(Recognition(MeanColour()), [role], classes)

    def test_faces_are_described_only_where_a_model_looks_for_them(self) -> None:
        role = Role("tiny.onnx", "a" * 64, ModelCard("yolov8", "detect", LABELS, (8, 16, 32)))
        finds = Role("faces.onnx", "b" * 64, ModelCard("yolov8", "face", ("face",), (8, 16, 32), keypoints=(5, 2)))
        recognition = Recognition(None, MeanColour(FACE))
        check_people(recognition, [role, finds], ())
        with pytest.raises(UsageError, match="--face-reid face: no model looks for faces"):
            check_people(recognition, [role], ())

    def test_a_track_is_over_only_after_its_tracker_gave_it_up(self) -> None:
        role = Role("pedestrian.onnx", "a" * 64, ModelCard("yolov8", "detect", ("pedestrian",), (8, 16, 32)))
        assert collecting(role, TrackerChoice(), 0.04) == CollectorSettings(people=("pedestrian",))
        assert collecting(role, TrackerChoice(settings=("lost_s=30",)), 0.04).end_after_s == pytest.approx(36)
        assert collecting(role, TrackerChoice(), 4.0).end_after_s == 20
        assert collecting(role, TrackerChoice(preset="reference"), 1.0).end_after_s == 35
