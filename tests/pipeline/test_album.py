"""The album: the best view of each track, presence and counts, in bounded memory."""

from __future__ import annotations

import tracemalloc

import cv2
import numpy as np

from tests.fakes import make_detections, make_faces
from tests.pipeline.test_annotate import tracks
from watchline.pipeline.album import Album
from watchline.pipeline.findings import Findings, Tied
from watchline.streams.frame import U8, ClockSource, Frame, Picture
from watchline.trackers.tracks import Tracks

LABELS = ("person", "car")
NOISE = np.random.default_rng(1).integers(0, 255, (240, 320, 3), dtype=np.uint8)


def frame(i: int, pts_s: float, rgb: U8 = NOISE) -> Frame:
    return Frame("yard", i, pts_s, 0.0, ClockSource.FILE, Picture.from_rgb(rgb))


def size_of(jpeg: bytes) -> tuple[int, int]:
    """Height and width of a JPEG."""
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return picture.shape[0], picture.shape[1]


def test_a_track_has_a_card_with_its_times_its_score_and_a_picture() -> None:
    album = Album(LABELS)
    for i in range(10):
        album.add(frame(i, i / 10), tracks((4, 0, (100, 60, 140, 160))))
    (card,) = album.cards
    assert (card.track_id, card.class_id, card.first_s, card.last_s, card.frames) == (4, 0, 0.0, 0.9, 10)
    assert abs(card.best_score - 0.87) < 1e-6
    assert size_of(card.view.jpeg) == (100, 40)
    assert card.intervals == [(0.0, 0.9)]


def test_what_coasts_was_not_seen() -> None:
    album = Album(LABELS)
    album.add(frame(0, 0.0), tracks((4, 0, (100, 60, 140, 160))))
    album.add(frame(1, 5.0), tracks((4, 0, (100, 60, 180, 220)), (9, 0, (5, 5, 60, 90)), seen=False))
    (card,) = album.cards
    assert (card.track_id, card.last_s, card.frames, size_of(card.view.jpeg)) == (4, 0.0, 1, (100, 40))
    assert album.track_count == 1


def test_the_largest_whole_view_is_kept() -> None:
    album = Album(LABELS)
    views = [(100.0, 60.0, 130.0, 120.0), (100.0, 60.0, 150.0, 200.0), (100.0, 60.0, 120.0, 110.0)]
    for i, box in enumerate(views):
        album.add(frame(i, float(i)), tracks((1, 0, box)))
    assert size_of(album.cards[0].view.jpeg) == (140, 50)


def test_a_sharp_view_is_preferred_to_a_blurred_one_of_the_same_size() -> None:
    blurred = np.asarray(cv2.GaussianBlur(NOISE, (0, 0), 6), np.uint8)
    album, sharp_first = Album(LABELS), Album(LABELS)
    for i, rgb in enumerate((blurred, NOISE)):
        album.add(frame(i, float(i), rgb), tracks((1, 0, (100, 60, 140, 160))))
    for i, rgb in enumerate((NOISE, blurred)):
        sharp_first.add(frame(i, float(i), rgb), tracks((1, 0, (100, 60, 140, 160))))
    assert album.cards[0].view.jpeg == sharp_first.cards[0].view.jpeg


def test_a_view_that_the_border_cuts_off_gives_way_to_a_whole_one() -> None:
    album = Album(LABELS)
    album.add(frame(0, 0.0), tracks((1, 0, (-20, 60, 40, 170))))
    album.add(frame(1, 1.0), tracks((1, 0, (100, 60, 140, 160))))
    assert size_of(album.cards[0].view.jpeg) == (100, 40)


def test_a_box_outside_the_picture_has_a_card_without_a_picture() -> None:
    album = Album(LABELS)
    album.add(frame(0, 0.0), tracks((1, 0, (-50, -50, -10, -10))))
    assert album.cards[0].view.jpeg == b""


def test_absences_part_the_presence_and_their_number_is_bounded() -> None:
    album = Album(LABELS)
    for i, pts_s in enumerate((0.0, 0.1, 0.2, 5.0, 5.1)):
        album.add(frame(i, pts_s), tracks((1, 0, (100, 60, 140, 160))))
    assert album.cards[0].intervals == [(0.0, 0.2), (5.0, 5.1)]
    for i in range(500):
        album.add(frame(i, 10.0 + 3 * i), tracks((1, 0, (100, 60, 140, 160))))
    intervals = album.cards[0].intervals
    assert len(intervals) <= 32
    assert (intervals[0][0], intervals[-1][1]) == (0.0, 10.0 + 3 * 499)


def test_counts_keep_their_mean_while_the_bins_widen() -> None:
    album = Album(LABELS)
    for i in range(4000):
        album.add(frame(i, float(i)), tracks((1, 0, (100, 60, 140, 160)), (2, 1, (10, 60, 90, 100))))
    means = album.counts.means()
    assert 100 <= len(means) <= 600
    assert all(count == 2.0 for _, count in means)
    assert means[0][0] >= 0.0
    assert means[-1][0] <= 4000 + album.counts.bin_s


def test_frames_without_tracks_count_as_nobody() -> None:
    album = Album(LABELS)
    for i in range(10):
        album.add(frame(i, i / 10), Tracks.empty())
    assert album.cards == []
    assert album.track_count == 0
    assert {count for _, count in album.counts.means()} == {0.0}


def test_tracks_are_counted_by_class() -> None:
    album = Album(LABELS)
    for i in range(3):
        album.add(
            frame(i, float(i)), tracks((1, 0, (100, 60, 140, 160)), (2, 1, (10, 60, 90, 100)), (3, 0, (5, 5, 9, 9)))
        )
    assert album.track_count == 3
    assert dict(album.tracks_by_class) == {"person": 2, "car": 1}


def test_beyond_the_bound_those_seen_least_lose_their_cards_and_are_counted() -> None:
    album = Album(LABELS, max_cards=5)
    box = (100.0, 60.0, 140.0, 160.0)
    sequence = 0
    for track_id in range(1, 41):
        for _ in range(10 if track_id <= 5 else 2):
            album.add(frame(sequence, 100.0 * sequence), tracks((track_id, 0, box)))
            sequence += 1
    assert {2, 3, 4, 5} <= {card.track_id for card in album.cards}
    assert album.track_count == 40
    assert album.without_card == 40 - len(album.cards)


def test_twenty_thousand_frames_leave_memory_flat() -> None:
    album = Album(LABELS, max_cards=20)
    small = NOISE[:64, :64]
    held: list[int] = []
    tracemalloc.start()
    for i in range(20_000):
        box = (10.0, 10.0, 30.0, 50.0)
        album.add(frame(i, float(i), small), tracks((1 + i // 20, 0, box), (100_000 + i // 7, 1, box)))
        if i in (10_000, 19_999):
            held.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert held[1] - held[0] < 200_000


def test_the_best_view_of_a_face_is_kept_and_the_frames_that_show_it_are_counted() -> None:
    album = Album(LABELS)
    person = (100.0, 20.0, 180.0, 220.0)
    views = [(134, 30, 146, 42), (130, 28, 150, 48), (136, 32, 144, 40)]
    for i, face in enumerate(views):
        tied = Tied(make_faces(face), np.zeros(1, np.int32))
        album.add(frame(i, float(i)), tracks((1, 0, person)), Findings(make_detections(person), (tied,)))
    nobodys = Tied(make_faces((130, 28, 150, 48)), np.full(1, -1, np.int32))
    album.add(frame(3, 3.0), tracks((1, 0, person)), Findings(make_detections(person), (nobodys,)))
    (card,) = album.cards
    assert (card.frames, card.face_frames, album.faced_count) == (4, 3, 1)
    assert size_of(card.face.jpeg) == (30, 30), "the second, with a quarter around it"
    assert card.sketch.width == 77
