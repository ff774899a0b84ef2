"""The reference trackers against the published programs, on real sequences: same rows, ids, order and boxes."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from watchline.trackers.byte_track_reference import ByteTrackReference
from watchline.trackers.kalman import F64, Motion
from watchline.trackers.native_reference import NativeByteTrackReference, NativeOcSortReference
from watchline.trackers.oc_sort_reference import OcSortReference
from watchline.trackers.reference_options import ByteTrackReferenceOptions, OcSortReferenceOptions
from watchline.trackers.rows import FrameStepper

pytestmark = pytest.mark.data

SEQUENCES = (
    "ETH-Bahnhof", "ETH-Sunnyday", "KITTI-17", "KITTI-trk-0000-car", "KITTI-trk-0006-car", "KITTI-trk-0011-car",
    "KITTI-trk-0020-car", "MOT17-02-FRCNN", "MOT17-05-FRCNN", "MOT17-09-FRCNN", "MOT17-10-FRCNN", "PETS09-S2L1",
    "TUD-Campus",
)  # fmt: skip
SETTINGS: dict[str, ByteTrackReferenceOptions | OcSortReferenceOptions] = {
    "bytetrack": ByteTrackReferenceOptions(),
    "bytetrack_t06_m09": ByteTrackReferenceOptions(track_thresh=0.6, match_thresh=0.9),
    "ocsort": OcSortReferenceOptions(),
    "ocsort_byte": OcSortReferenceOptions(use_byte=True),
}


def make(backend: str, option: ByteTrackReferenceOptions | OcSortReferenceOptions) -> FrameStepper:
    if isinstance(option, ByteTrackReferenceOptions):
        return NativeByteTrackReference(option) if backend == "native" else ByteTrackReference(option)
    return NativeOcSortReference(option) if backend == "native" else OcSortReference(option)


@cache
def frames_of(path: Path) -> list[tuple[F64, F64]]:
    """The boxes and scores of every frame from 1 to the last."""
    table = np.loadtxt(path, delimiter=",", ndmin=2)
    ends = np.searchsorted(table[:, 0], np.arange(1, table[-1, 0] + 2))
    return [(table[i:j, 1:5].copy(), table[i:j, 5].copy()) for i, j in pairwise(ends)]


@pytest.mark.parametrize("sequence", SEQUENCES)
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("backend", ["python", pytest.param("native", marks=pytest.mark.native)])
def test_the_published_programs_rows_come_out_in_their_order(
    request: pytest.FixtureRequest, data_dir: Path, backend: str, setting: str, sequence: str
) -> None:
    if backend == "native":
        request.getfixturevalue("native")
    reference = np.loadtxt(data_dir / "trackers/reference" / setting / f"{sequence}.txt", delimiter=",", ndmin=2)
    tracker, ours = make(backend, SETTINGS[setting]), []
    for frame, (xyxy, score) in enumerate(frames_of(data_dir / "trackers/inputs" / f"{sequence}.txt"), 1):
        rows = tracker.step(xyxy, score)
        assert rows.score.tolist() == score[rows.detection].tolist()
        size = rows.xyxy[:, 2:] - rows.xyxy[:, :2]
        ours.append(np.column_stack([np.full(len(rows), frame), rows.track_id, rows.xyxy[:, :2], size, rows.score]))
    result = np.concatenate(ours)
    assert result[:, :2].tolist() == reference[:, :2].tolist()
    assert np.abs(result - reference[:, :7]).max() < 1e-6


def state_of(motion: Motion, speeds: int) -> F64:
    """Mean and the diagonal of P, as matrices have them."""
    fast = slice(0, speeds)
    return np.column_stack([motion["place"], motion["speed"][:, fast], motion["p_place"], motion["p_speed"][:, fast]])


@pytest.mark.parametrize("sequence", ["KITTI-17", "TUD-Campus"])
def test_bytetrack_holds_the_published_programs_state_in_every_frame(data_dir: Path, sequence: str) -> None:
    path = data_dir / "trackers/reference/bytetrack_state" / f"{sequence}.txt"
    reference = np.loadtxt(path, delimiter=",", converters={1: lambda text: float(text == "T")})
    tracker = ByteTrackReference()
    for frame, boxes in enumerate(frames_of(data_dir / "trackers/inputs" / f"{sequence}.txt"), 1):
        tracker.step(*boxes)
        live = tracker._live
        ours = np.column_stack([live["seen"], live["track_id"], live["confirmed"], state_of(live["motion"], 4)])
        wanted = reference[reference[:, 0] == frame, 1:]
        assert ours[:, :3].tolist() == wanted[:, :3].tolist(), frame
        np.testing.assert_allclose(ours, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("sequence", ["KITTI-17", "TUD-Campus"])
def test_oc_sort_holds_the_published_programs_state_in_every_frame(data_dir: Path, sequence: str) -> None:
    reference = np.loadtxt(data_dir / "trackers/reference/ocsort_state" / f"{sequence}.txt", delimiter=",")
    tracker = OcSortReference()
    for frame, boxes in enumerate(frames_of(data_dir / "trackers/inputs" / f"{sequence}.txt"), 1):
        tracker.step(*boxes)
        live = tracker._live
        counts = [live[name] for name in ("track_id", "unseen", "streak", "age")]
        ours = np.column_stack([*counts, state_of(live["motion"], 3), live["direction"][:, ::-1]])
        wanted = reference[reference[:, 0] == frame, 1:]
        assert ours[:, :4].tolist() == wanted[:, :4].tolist(), frame
        np.testing.assert_allclose(ours, wanted, rtol=1e-9, atol=1e-7)
