from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest

from tests.kit.sightings import make_sighting
from watchline.detectors.boxes import F32
from watchline.pipeline.embedding import open_embedder
from watchline.pipeline.evidence.blurring import CELLS, Overlap, blurred, grown, moved_into
from watchline.pipeline.evidence.clips import Way, write_clip
from watchline.pipeline.video import VideoWriter
from watchline.streams.errors import StreamError, UsageError
from watchline.streams.frame import U8

NOISE = np.random.default_rng(3)


def box(*corners: float) -> F32:
    return np.array(corners, np.float32)


def noise(height: int, width: int) -> U8:
    return NOISE.integers(0, 256, (height, width, 3), dtype=np.uint8)


def detail(part: U8) -> float:
    """The mean step from a pixel to the next: 85 in noise, under 3 in what was blurred."""
    return float(np.abs(np.diff(part.astype(int), axis=1)).mean())


def test_others_are_blurred_and_all_else_is_left_as_it_was() -> None:
    picture = noise(200, 300)
    before = picture.copy()
    out = blurred(picture, box(10, 10, 60, 160), [box(150, 20, 200, 180)])
    assert (picture == before).all()
    changed = np.argwhere((out != picture).any(axis=2))
    assert (changed.min(0) >= (4, 145)).all()
    assert (changed.max(0) <= (195, 204)).all()  # a margin of a tenth
    assert detail(out[20:180, 150:200]) < 3 < 60 < detail(picture[20:180, 150:200])


def test_what_is_blurred_depends_on_the_means_of_a_few_cells_alone() -> None:
    cell = 20
    shuffled = picture = noise(cell * CELLS, cell * CELLS)
    for top in range(0, 80, cell):
        for left in range(0, 80, cell):
            part = picture[top : top + cell, left : left + cell].reshape(-1, 3)
            shuffled = shuffled.copy()
            shuffled[top : top + cell, left : left + cell] = NOISE.permutation(part).reshape(cell, cell, 3)
    whole = box(0, 0, 80, 80)
    assert (picture != shuffled).mean() > 0.9
    assert (blurred(picture, None, [whole]) == blurred(shuffled, None, [whole])).all()


SUBJECT, OTHER = (
    box(100, 100, 200, 400),
    box(150, 50, 250, 350),
)


@pytest.mark.parametrize(
    ("overlap", "head", "body"),
    [(Overlap.HEADS, False, False), (Overlap.KEEP, False, False), (Overlap.BLUR, True, True)],
)
def test_the_subjects_own_head_and_body_stay_unless_asked_otherwise(overlap: Overlap, head: bool, body: bool) -> None:
    out = blurred(noise(500, 400), SUBJECT, [OTHER], overlap)
    assert (detail(out[110:160, 160:195]) < 5) is head
    assert (detail(out[200:300, 160:195]) < 5) is body
    assert detail(out[120:300, 215:245]) < 5  # the other, beside the subject


def test_the_head_of_another_within_the_subjects_box_is_blurred() -> None:
    before = box(120, 200, 180, 400)  # somebody small stands before the subject
    picture = noise(500, 400)
    assert detail(blurred(picture, SUBJECT, [before])[205:240, 125:175]) < 5
    assert detail(blurred(picture, SUBJECT, [before])[280:390, 125:175]) > 60  # the subject's clothes
    assert detail(blurred(picture, SUBJECT, [before], Overlap.KEEP)[205:240, 125:175]) > 60


@pytest.mark.parametrize(
    "other",
    [box(-50, -50, 30, 30), box(380, 480, 900, 900), box(-9, -9, 999, 999), box(50, 50, 51, 51), box(50, 50, 50, 50)],
)
def test_boxes_at_and_beyond_the_border_are_no_trouble(other: F32) -> None:
    picture = noise(500, 400)
    out = blurred(picture, None, [other])
    left, top, right, bottom = np.clip(other, 0, 999).astype(int)
    part = out[top:bottom, left:right]
    assert out.shape == picture.shape
    assert not part.size or part.shape[1] < 2 or detail(part) < 20


def test_boxes_of_a_frame_are_moved_into_a_crop_of_it() -> None:
    crop, other = box(100, 50, 200, 350), box(150, 60, 250, 360)
    (moved,) = moved_into([other], crop)
    assert moved.tolist() == [50, 10, 150, 310]
    out = blurred(noise(300, 100), box(0, 0, 100, 300), [moved], Overlap.BLUR)
    assert detail(out[20:280, 60:100]) < 5


def close(found: F32 | None, wanted: F32 | Sequence[float]) -> None:
    assert found is not None
    assert found.tolist() == pytest.approx(list(wanted))


def way(*boxes: Sequence[float]) -> Way:
    return Way(np.array(boxes, np.float64))


def test_a_way_covers_all_between_two_boxes_and_a_second_around_them() -> None:
    walk = way((10, 0, 0, 10, 30), (14, 100, 0, 110, 30))
    for at_s in np.linspace(10, 14, 41):
        left = (at_s - 10) * 25
        covering = walk.covering(float(at_s))
        assert covering is not None
        assert covering[0] <= left
        assert covering[2] >= left + 10
    assert walk.covering(8.9) is None
    assert walk.covering(15.1) is None
    for at_s, near in ((9.5, box(0, 0, 10, 30)), (14.5, box(100, 0, 110, 30))):
        close(walk.covering(at_s), grown(near, 0.25))


def test_where_nobody_saw_the_subject_for_long_it_has_no_place() -> None:
    walk = way((10, 0, 0, 10, 30), (11, 10, 0, 20, 30), (14, 100, 0, 110, 30))
    close(walk.at(10.5), [5, 0, 15, 30])
    close(walk.at(14.0), [100, 0, 110, 30])
    assert walk.at(9.9) is walk.at(12.0) is walk.at(14.1) is None


def test_the_way_of_a_sighting_has_the_times_of_its_source() -> None:
    sighting = make_sighting(at_s=7.0)
    found = Way.of(sighting.path, sighting.start_pts_s)
    assert found.boxes[:2, 0].tolist() == [7.0, 7.5]
    close(found.at(7.0), sighting.path[0, 1:])


def test_ways_without_boxes_or_out_of_order_are_refused() -> None:
    for boxes in (np.empty((0, 5)), np.array([[1.0, 0, 0, 1, 1], [0.0, 0, 0, 1, 1]]), np.full((1, 5), np.nan)):
        with pytest.raises(ValueError, match="boxes"):
            Way(boxes)


SIDE, FPS = 64, 10


def film(path: Path, frames: int = 50) -> Path:
    """Two squares of stripes: the subject above stands still, the other below walks to the right, 2 pixels a frame."""
    stripes = np.repeat(np.tile(np.array([0, 255], np.uint8).repeat(4), SIDE // 8)[None], SIDE, 0)[..., None]
    writer = VideoWriter(path, FPS)
    for number in range(frames):
        picture = np.full((240, 320, 3), 128, np.uint8)
        picture[20 : 20 + SIDE, 100 : 100 + SIDE] = stripes
        picture[140 : 140 + SIDE, 2 * number : 2 * number + SIDE] = stripes
        writer.write(picture, number / FPS)
    writer.close()
    return path


def test_nobody_flashes_up_in_a_clip_while_their_boxes_are_missing(tmp_path: Path) -> None:
    source, out = film(tmp_path / "yard.mp4"), tmp_path / "clip.mp4"
    # Seen late, lost for a second, and lost early: frames 8, 20, 32 and 42 of 0 to 49.
    other = way(*((n / FPS, 2 * n, 140, 2 * n + SIDE, 140 + SIDE) for n in (8, 20, 32, 42)))
    subject = way((0, 100, 20, 100 + SIDE, 20 + SIDE), (2, 100, 20, 100 + SIDE, 20 + SIDE), (4, 100, 20, 164, 84))
    facts = write_clip(source, out, (0.0, 4.9), subject, [other])
    assert (facts.frames, facts.start_pts_s, facts.clock) == (50, 0.0, "file")
    with av.open(str(out)) as clip:
        pictures = [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in clip.decode(video=0)]
    assert len(pictures) == 50
    for number, picture in enumerate(pictures):
        assert detail(picture[140 : 140 + SIDE, 2 * number : 2 * number + SIDE]) < 8, number
        assert detail(picture[20 : 20 + SIDE, 100 : 100 + SIDE]) > 20, number


def test_a_clip_holds_the_span_that_was_asked_for(tmp_path: Path) -> None:
    source, out = film(tmp_path / "yard.mp4"), tmp_path / "clip.mp4"
    facts = write_clip(source, out, (1.0, 2.0), None, [])
    assert (facts.frames, round(facts.start_pts_s, 3), round(facts.end_pts_s, 3)) == (11, 1.0, 2.0)
    assert facts.ended_at - facts.started_at == pytest.approx(1.0)
    before = out.read_bytes()
    with pytest.raises(StreamError, match="shows nothing from 60 to 61 s"):
        write_clip(source, out, (60.0, 61.0), None, [])
    for span in ((2.0, 1.0), (0.0, 601.0)):
        with pytest.raises(UsageError, match="want more than none"):
            write_clip(source, out, span, None, [])
    assert out.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4", "yard.mp4"]


def people(data_dir: Path) -> list[U8]:
    """Bodies of people-walking, large ones, of every fiftieth frame."""
    frames = json.loads((data_dir / "detections" / "people-walking.yolov8n.json").read_text())["frames"]
    found: list[U8] = []
    with av.open(str(data_dir / "clips" / "people-walking.mp4")) as clip:
        for number, frame in enumerate(clip.decode(video=0)):
            if number > 100:
                break
            if number % 50 == 0:
                rgb = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
                boxes = np.array([row[2:] for row in frames[str(number)] if row[0] == 0 and row[1] > 0.5]).astype(int)
                found += [rgb[t:b, x:r] for x, t, r, b in boxes.tolist() if b - t > 120]
    return found


@pytest.mark.data
def test_the_vector_of_somebody_blurred_no_longer_finds_them(data_dir: Path, tmp_path: Path) -> None:
    crops = people(data_dir)
    whole = [box(0, 0, crop.shape[1], crop.shape[0]) for crop in crops]
    blurs = [blurred(crop, None, [each]) for crop, each in zip(crops, whole, strict=True)]

    def nothing(entry: object) -> Path:
        raise AssertionError

    model = str(data_dir / "models" / "osnet_x0_25_msmt17.onnx")
    embedder = open_embedder(model, tmp_path, nothing, "cpu")
    originals, hidden = embedder.embed(crops), embedder.embed(blurs)
    own = (originals * hidden).sum(1)
    between = (originals @ originals.T)[~np.eye(len(crops), dtype=bool)]
    assert own.mean() < between.mean()
    assert own.max() < np.percentile(between, 95)
    ranks = ((originals @ hidden.T) > own).sum(0)
    assert (ranks == 0).mean() < 0.2


@pytest.mark.data
def test_a_face_detector_finds_nobody_who_was_blurred(data_dir: Path) -> None:
    import cv2

    model = str(data_dir / "models" / "face_detection_yunet_2026may.onnx")
    for name in ("face_1.jpg", "face_2.jpg"):
        picture = np.asarray(cv2.imread(str(data_dir / "images" / name)), np.uint8)
        finder = cv2.FaceDetectorYN.create(model, "", (picture.shape[1], picture.shape[0]), 0.5)
        faces = finder.detect(picture)[1]
        assert faces is not None
        boxes = [box(x, y, x + w, y + h) for x, y, w, h in faces[:, :4].tolist()]
        assert finder.detect(blurred(picture, None, boxes))[1] is None
