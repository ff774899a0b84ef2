"""What every backend of the store must do: inherit `StoreConformance` and say how to make one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.store.made import BODY, FACE, LIVE, make_crop, make_parts, make_sighting, make_vector
from watchline.pipeline.store.failures import StaleMark
from watchline.pipeline.store.seam import Keep, Selection, SightingStore, Summary
from watchline.pipeline.store.sighting import Sighting
from watchline.reid.embeddings import Kind
from watchline.streams.errors import UsageError

DAY = 86_400.0
EVERYTHING = Selection()

law = settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.differing_executors, HealthCheck.too_slow, HealthCheck.data_too_large],
)
seeds = st.integers(0, 2**32 - 1)
numbers = st.floats(-1e12, 1e12, allow_nan=False)


@st.composite
def sightings(draw: st.DrawFn) -> Sighting:
    rng = np.random.default_rng(draw(seeds))
    sizes = draw(st.lists(st.integers(0, 40_000), max_size=2))
    made = make_sighting(
        rng,
        camera=draw(st.text(max_size=8)),
        track_id=draw(st.integers(0, 2**62)),
        part=draw(st.integers(0, 10_000)),
        label=draw(st.text(max_size=5)),
        start_pts_s=draw(numbers),
        end_pts_s=draw(numbers),
        started_at=draw(numbers),
        ended_at=draw(numbers),
        best_score=draw(st.floats(0, 1)),
        reason=draw(st.text(max_size=5)),
        crops=tuple(make_crop(rng, size, kind) for size in sizes for kind in Kind),
        vectors=tuple(make_vector(rng, model) for model in draw(st.lists(st.sampled_from([BODY, FACE]), max_size=3))),
        provenance=replace(LIVE, source=draw(st.text(max_size=5))),
    )
    return replace(made, path=made.path[: draw(st.integers(0, 4))])


@st.composite
def worlds(draw: st.DrawFn) -> list[Sighting]:
    """Some sightings on few cameras, few tracks and few moments, so that selections meet some and miss others."""
    return [
        make_sighting(
            draw(seeds),
            camera=(camera := draw(st.sampled_from(["dock", "gate"]))),
            track_id=(track := draw(st.integers(0, 3))),
            track_key=f"{camera}-{track}".ljust(32, "0"),
            part=part,
            started_at=(start := float(draw(st.integers(0, 9)))),
            ended_at=start + draw(st.integers(0, 3)),
            provenance=replace(LIVE, source=draw(st.sampled_from(["live", "a.mp4"]))),
            crops=(),
        )
        for part in range(draw(st.integers(0, 12)))
    ]


@st.composite
def selections(draw: st.DrawFn, world: Sequence[Sighting]) -> Selection:
    times = st.none() | st.integers(0, 12).map(float)
    ids = st.lists(st.sampled_from([s.sighting_id for s in world] or ["none"]), max_size=4).map(tuple)
    return Selection(
        cameras=draw(st.sampled_from([(), (), ("dock",), ("gate", "dock"), ("hall",)])),
        since=draw(times),
        until=draw(times),
        ids=draw(st.just(()) | ids),
        track=draw(st.none() | st.tuples(st.sampled_from(["dock", "gate"]), st.integers(0, 4))),
        source=draw(st.sampled_from(["", "", "live", "a.mp4"])),
    )


def is_meant(selection: Selection, one: Sighting) -> bool:
    """Says in plain Python what `Selection` says in words."""
    return (
        (not selection.cameras or one.camera in selection.cameras)
        and (selection.since is None or one.ended_at >= selection.since)
        and (selection.until is None or one.started_at < selection.until)
        and (not selection.ids or one.sighting_id in selection.ids)
        and (selection.track is None or (one.camera, one.track_id) == selection.track)
        and (not selection.source or one.provenance.source == selection.source)
    )


def same(one: Sighting, other: Sighting) -> bool:
    """Whether two sightings are equal to the last bit."""
    plain = {name: getattr(one, name) for name in Sighting.__slots__ if name not in {"vectors", "path"}}
    vectors = zip(one.vectors, other.vectors, strict=True)
    return (
        all(getattr(other, name) == value for name, value in plain.items())
        and len(one.vectors) == len(other.vectors)
        and all(
            (a.model, a.spread, a.crops, a.quality) == (b.model, b.spread, b.crops, b.quality)
            and a.vector.tobytes() == b.vector.tobytes()
            for a, b in vectors
        )
        and np.array_equal(one.path, other.path)
    )


def every_page(store: SightingStore, selection: Selection, most: int) -> list[Summary]:
    found: list[Summary] = []
    before: tuple[float, str] | None = None
    while page := store.find(selection, most, before):
        assert len(page) <= most
        found += page
        before = page[-1].started_at, page[-1].track_key
    return found


def keys_of(store: SightingStore, sha256: str = BODY.sha256, after: int = -1) -> list[int]:
    return [int(key) for batch in store.vectors(sha256, after) for key in batch.key]


class StoreConformance:
    """Tests of any store. A subclass says how a new, empty one is made."""

    def make(self) -> AbstractContextManager[SightingStore]:
        raise NotImplementedError

    @law
    @given(st.lists(sightings(), max_size=5))
    def test_what_was_added_is_read_to_the_last_bit(self, added: list[Sighting]) -> None:
        with self.make() as store:
            store.add(added)
            assert all(same(one, store.get(one.sighting_id)) for one in added)
            assert store.count(EVERYTHING) == len(added)

    @law
    @given(worlds(), st.integers(1, 4))
    def test_pages_show_every_track_once_and_the_newest_first(self, world: list[Sighting], most: int) -> None:
        with self.make() as store:
            store.add(world)
            shown = [(found.started_at, found.track_key) for found in every_page(store, EVERYTHING, most)]
            starts: dict[str, float] = {}
            for one in world:
                starts[one.track_key] = min(starts.get(one.track_key, np.inf), one.started_at)
            assert shown == sorted(((start, key) for key, start in starts.items()), reverse=True)

    @law
    @given(st.data())
    def test_a_selection_means_what_it_says(self, data: st.DataObject) -> None:
        world = data.draw(worlds())
        with self.make() as store:
            store.add(world)
            for selection in data.draw(st.lists(selections(world), min_size=3, max_size=6)):
                meant = [one for one in world if is_meant(selection, one)]
                assert store.count(selection) == len(meant)
                tracks = {found.track_key for found in every_page(store, selection, 2)}
                assert tracks == {one.track_key for one in meant}

    @law
    @given(st.data())
    def test_erasing_leaves_exactly_the_others(self, data: st.DataObject) -> None:
        world = data.draw(worlds())
        selection = data.draw(selections(world).filter(lambda chosen: chosen != EVERYTHING))
        gone = {one.sighting_id for one in world if is_meant(selection, one)}
        rest = [one for one in world if one.sighting_id not in gone]
        with self.make() as store:
            store.add(world)
            before = keys_of(store)
            erased = store.erase(selection)
            assert set(erased.sightings) == gone
            assert erased.vectors == len(gone)
            assert all(same(one, store.get(one.sighting_id)) for one in rest)
            assert store.count(EVERYTHING) == len(rest)
            found = every_page(store, EVERYTHING, 3)
            assert sorted(id_ for track in found for id_ in track.ids) == sorted(one.sighting_id for one in rest)
            assert all(one.started_at == min(store.get(id_).started_at for id_ in one.ids) for one in found)
            removed, _ = store.removed()
            assert sorted([*removed, *keys_of(store)]) == before

    def test_sightings_are_added_all_or_none(self) -> None:
        with self.make() as store:
            first, second = make_sighting(), make_sighting()
            store.add([first])
            with pytest.raises(UsageError, match="stored already"):
                store.add([second, first])
            assert store.count(EVERYTHING) == 1
            store.add([])
            store.add([second])

    @pytest.mark.parametrize("wrong", [{"track_id": 2**63}, {"started_at": float("nan")}, {"label": None}])
    def test_values_that_cannot_be_stored_are_one_clear_line(self, wrong: dict[str, Any]) -> None:
        one = make_sighting(**wrong)
        with self.make() as store:
            with pytest.raises(UsageError, match=f"{one.sighting_id} cannot be stored"):
                store.add([one])
            assert store.count(EVERYTHING) == 0
            store.add([make_sighting()])

    def test_many_ids_may_be_named_at_once(self) -> None:
        with self.make() as store:
            made = [make_sighting() for _ in range(3)]
            store.add(made)
            many = tuple(f"{number:032x}" for number in range(10**9, 10**9 + 40_000))
            assert store.count(Selection(ids=(*many, made[1].sighting_id))) == 1
            assert len(store.find(Selection(ids=(*many, made[1].sighting_id)), 10)) == 1
            assert len(store.erase(Selection(ids=(made[0].sighting_id, *many))).sightings) == 1

    def test_an_unknown_sighting_is_one_clear_line(self) -> None:
        with self.make() as store, pytest.raises(UsageError, match="no sighting 'abc'"):
            store.get("abc")

    def test_parts_of_a_track_are_told_as_one(self) -> None:
        with self.make() as store:
            parts = make_parts(3, started_at=5000.0, frames=10)
            parts[1] = replace(parts[1], reason="too small", crops=(), vectors=(), best_score=0.9375)
            store.add([parts[2], make_sighting(), parts[0], parts[1]])
            (track,) = store.find(Selection(ids=(parts[1].sighting_id,)), 10)
            assert track.ids == tuple(part.sighting_id for part in parts)
            assert (track.started_at, track.ended_at, track.frames, track.crops) == (5000.0, 5180.0, 30, 4)
            assert (track.reason, track.best_score, track.vectors) == ("", 0.9375, (Kind.BODY,))
            assert track.provenance == LIVE

    def test_a_track_without_pictures_tells_why(self) -> None:
        with self.make() as store:
            store.add([replace(part, reason="too small", crops=()) for part in make_parts(2)])
            assert store.find(EVERYTHING, 1)[0].reason == "too small"

    def test_vectors_come_by_model_in_order_of_their_keys(self) -> None:
        rng = np.random.default_rng(1)
        made = [
            make_sighting(rng, camera=f"cam-{n % 3}", vectors=(make_vector(rng), make_vector(rng, FACE)))
            for n in range(7)
        ]
        with self.make() as store:
            store.add(made)
            batches = list(store.vectors(BODY.sha256, most=3))
            assert [len(batch.key) for batch in batches] == [3, 3, 1]
            rows = [(batch, row) for batch in batches for row in range(len(batch.key))]
            assert all(np.diff([int(batch.key[row]) for batch, row in rows]) > 0)
            for one, (batch, row) in zip(made, rows, strict=True):
                assert batch.vectors[row].tobytes() == one.vectors[0].vector.tobytes()
                assert batch.sighting_ids[row] == one.sighting_id
                assert batch.cameras[batch.camera[row]] == one.camera
                assert (batch.started_at[row], batch.ended_at[row]) == (one.started_at, one.ended_at)
            assert keys_of(store, after=int(batches[0].key[-1])) == [int(batch.key[row]) for batch, row in rows[3:]]
            assert keys_of(store, "unknown") == []
            assert sorted(store.models(), key=lambda found: found[0].name) == [(BODY, 7), (FACE, 7)]

    def test_one_model_under_two_names_counts_as_one(self) -> None:
        renamed = replace(BODY, name="other")
        with self.make() as store:
            store.add([make_sighting(), make_sighting(vectors=(make_vector(np.random.default_rng(1), renamed),))])
            assert store.models() == [(BODY, 2)]
            assert len(keys_of(store)) == 2

    def test_a_key_is_never_used_again(self) -> None:
        with self.make() as store:
            first, second = make_sighting(), make_sighting()
            store.add([first])
            (key,) = keys_of(store)
            store.erase(Selection(ids=(first.sighting_id,)))
            store.add([second])
            assert keys_of(store) > [key]

    def test_removed_vectors_are_told_once_to_who_asks_with_the_mark(self) -> None:
        with self.make() as store:
            made = [make_sighting() for _ in range(3)]
            store.add(made)
            keys = keys_of(store)
            assert len(store.removed()[0]) == 0
            store.erase(Selection(ids=(made[1].sighting_id,)))
            removed, mark = store.removed()
            assert removed.tolist() == [keys[1]]
            store.erase(Selection(ids=(made[0].sighting_id,)))
            removed, later = store.removed(mark)
            assert removed.tolist() == [keys[0]]
            assert later > mark
            assert len(store.removed(later)[0]) == 0

    def test_nothing_is_erased_by_a_selection_that_names_nothing(self) -> None:
        with self.make() as store:
            store.add([make_sighting()])
            with pytest.raises(UsageError, match="erase what"):
                store.erase(EVERYTHING)
            assert store.erase(Selection(cameras=("unknown",))).sightings == ()
            assert store.count(EVERYTHING) == 1

    def test_an_erasure_that_ends_with_an_error_is_unfinished_until_somebody_finishes_it(self) -> None:
        one, other = make_sighting(), make_sighting()
        selection = Selection(ids=(one.sighting_id,))
        with self.make() as store:
            store.add([one, other])
            with pytest.raises(ZeroDivisionError), store.erasing(selection, {"out": "proof.json"}):
                raise ZeroDivisionError
            left = store.unfinished()
            assert left is not None
            assert (left.sightings, left.note) == (1, {"out": "proof.json"})
            with pytest.raises(UsageError, match="an erasure was broken off; `watchline erase finish"):
                store.erase(Selection(ids=(other.sighting_id,)))
            with store.finishing() as erased:
                assert (erased.sightings, erased.crops) == ((one.sighting_id,), 2)
            assert store.unfinished() is None
            with pytest.raises(UsageError, match="no erasure is unfinished"), store.finishing():
                pass
            assert store.erase(Selection(ids=(other.sighting_id,))).crops == 2

    def test_a_source_is_claimed_once_at_a_time(self) -> None:
        with self.make() as store:
            refused = pytest.raises(UsageError, match=r"another run fills it from yard\.mp4")
            with store.claim("yard.mp4"), store.claim("dock.mp4"), refused, store.claim("yard.mp4"):
                pass
            with store.claim("yard.mp4"):
                pass

    @pytest.mark.parametrize(
        ("keep", "left"),
        [
            (Keep(crops_s=DAY), (0, 1, 4)),
            (Keep(vectors_s=DAY), (2, 0, 4)),
            (Keep(paths_s=DAY), (2, 1, 0)),
            (Keep(), (2, 1, 4)),
        ],
    )
    def test_each_kind_of_data_is_kept_for_its_own_time(self, keep: Keep, left: tuple[int, int, int]) -> None:
        now = 10 * DAY
        old, new = make_sighting(ended_at=now - DAY - 1), make_sighting(ended_at=now - DAY)
        with self.make() as store:
            store.add([old, new])
            erased = store.purge(keep, now)
            found = store.get(old.sighting_id)
            pictures = [crop for crop in found.crops if crop.jpeg]
            assert (len(pictures), len(found.vectors), len(found.path)) == left
            assert len(found.crops) == 2
            assert (erased.crops, erased.vectors) == (2 - left[0], 1 - left[1])
            assert same(new, store.get(new.sighting_id))
            assert store.purge(keep, now).crops == 0

    def test_old_sightings_go_with_all_that_is_theirs(self) -> None:
        now = 10 * DAY
        old = [make_sighting(ended_at=now - DAY - 1) for _ in range(250)]
        with self.make() as store:
            new = make_sighting(ended_at=now)
            store.add([*old, new])
            erased = store.purge(Keep(sightings_s=DAY), now)
            assert sorted(erased.sightings) == sorted(one.sighting_id for one in old)
            assert (erased.crops, erased.vectors) == (500, 250)
            assert [track.ids for track in store.find(EVERYTHING, 10)] == [(new.sighting_id,)]
            assert len(keys_of(store)) == 1

    def test_where_there_is_too_much_those_that_were_stored_first_go_whatever_the_clock_said(self) -> None:
        with self.make() as store:
            first = [make_sighting(ended_at=20 * DAY) for _ in range(150)]
            then = [make_sighting(ended_at=10 * DAY) for _ in range(150)]
            store.add(first)
            store.add(then)
            assert store.trim(64 << 20).sightings == ()
            room = 1 << 21  # not quite all
            erased = store.trim(room)
            gone = len(erased.sightings)
            assert {*erased.sightings} < {one.sighting_id for one in first}
            assert gone > 30
            assert (erased.crops, erased.vectors) == (2 * gone, gone)
            assert store.count(EVERYTHING) == 300 - gone
            assert store.trim(room).sightings == ()

    def test_an_index_that_slept_for_weeks_is_told_to_start_anew(self) -> None:
        with self.make() as store:
            made = [make_sighting() for _ in range(2)]
            store.add(made)
            store.erase(Selection(ids=(made[0].sighting_id,)))
            mark = store.removed()[1]
            store.erase(Selection(ids=(made[1].sighting_id,)))
            store.purge(Keep(), 1e11)
            with pytest.raises(StaleMark, match="anew"):
                store.removed(mark)
            assert store.removed()[1] > mark
            assert len(store.removed(store.removed()[1])[0]) == 0

    def test_an_index_that_began_with_an_empty_store_and_slept_for_weeks_is_told_too(self) -> None:
        with self.make() as store:
            mark = store.removed()[1]
            one = make_sighting()
            store.add([one])
            store.erase(Selection(ids=(one.sighting_id,)))
            store.purge(Keep(), 1e11)
            with pytest.raises(StaleMark, match="anew"):
                store.removed(mark)

    def test_pictures_that_the_retention_took_are_counted_no_more(self) -> None:
        now = 10 * DAY
        old, other = make_sighting(ended_at=now - DAY), make_sighting(ended_at=now - DAY)
        with self.make() as store:
            store.add([old, other])
            assert store.purge(Keep(crops_s=10.0), now).crops == 4
            assert [found.crops for found in store.find(EVERYTHING, 10)] == [0, 0]
            assert store.erase(Selection(ids=(other.sighting_id,))).crops == 0
            assert store.purge(Keep(sightings_s=10.0), now).crops == 0

    @pytest.mark.parametrize("selection", [Selection(cameras=("\udcff",)), Selection(track=("\udcff", 1))])
    def test_a_name_that_is_no_text_is_one_clear_line_or_found_nowhere(self, selection: Selection) -> None:
        with self.make() as store:
            store.add([make_sighting()])
            try:
                assert store.find(selection, 10) == []
                assert store.erase(selection).sightings == ()
            except UsageError as error:
                assert "not a name that a store can hold" in str(error)

    def test_several_threads_may_use_it_at_once(self) -> None:
        failed: list[BaseException] = []

        def guarded(work: Callable[[], object]) -> None:
            try:
                for _ in range(8):
                    work()
            except BaseException as error:  # noqa: BLE001 - shown below
                failed.append(error)

        with self.make() as store:
            works: list[Callable[[], object]] = [
                *[lambda: store.add([make_sighting(), make_sighting()])] * 3,
                *[lambda: store.find(EVERYTHING, 5), lambda: keys_of(store), store.models],
            ]
            threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert failed == []
            assert store.count(EVERYTHING) == 48

    def test_the_time_that_is_believed_goes_back_only_where_that_is_sure(self) -> None:
        with self.make() as store:
            assert store.reached() is None
            one = make_sighting()
            store.add([one])
            assert store.reached() == one.ended_at  # nothing was noted
            for at, surely, reached in ((5e8, False, 5e8), (7e8, False, 7e8), (6e8, False, 7e8), (6e8, True, 6e8)):
                store.reach(at, surely=surely)
                assert store.reached() == reached

    def test_it_may_be_closed_twice(self) -> None:
        with self.make() as store:
            store.close()
            store.close()
