"""Small networks that their authors' code built, saved and ran, imported: the same answers, without torch.

networks/NAME.pt.xz is the checkpoint, networks/NAME.npz what went in and came out; `upstream_networks.py --small`
makes both. All weights are random.
"""

from __future__ import annotations

import lzma
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from tests.parity.comparing import Difference, difference
from watchline.detectors.boxes import F32
from watchline.detectors.candidates import Candidates, MaskCandidates, PointCandidates
from watchline.detectors.heads.answer import Answer
from watchline.detectors.heads.registry import head_of
from watchline.detectors.importer.checkpoint import Checkpoint
from watchline.detectors.importer.network import build
from watchline.detectors.importer.selfcheck import check

NETWORKS = Path(__file__).with_name("networks")
NAMES = sorted(path.stem for path in NETWORKS.glob("*.npz"))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [None, (64, 128)], ids=["any size", "fixed size"])
def test_a_network_answers_what_its_authors_code_answered(
    name: str, size: tuple[int, int] | None, tmp_path: Path
) -> None:
    checkpoint = tmp_path / f"{name}.pt"
    checkpoint.write_bytes(lzma.decompress((NETWORKS / f"{name}.pt.xz").read_bytes()))
    found = difference(checkpoint, NETWORKS / f"{name}.npz", size)
    limits = Difference(box_px=1e-3, score=1e-4, point_px=1e-3, mask=1e-4)
    for kind in ("box_px", "score", "point_px", "mask"):
        assert getattr(found, kind) < getattr(limits, kind), kind


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("yolov6")])
@pytest.mark.parametrize("size", [None, (64, 128)], ids=["any size", "fixed size"])
def test_a_raw_head_says_the_same_as_the_whole_network(name: str, size: tuple[int, int] | None, tmp_path: Path) -> None:
    checkpoint = tmp_path / f"{name}.pt"
    checkpoint.write_bytes(lzma.decompress((NETWORKS / f"{name}.pt.xz").read_bytes()))
    pictures = np.load(NETWORKS / f"{name}.npz")["pictures"].astype(np.float32) / 255
    whole = candidates(checkpoint, pictures, size, raw=False)
    raw = candidates(checkpoint, pictures, size, raw=True)
    assert len(whole) == len(raw) > 0
    assert (whole.class_id == raw.class_id).all()
    np.testing.assert_allclose(raw.score, whole.score, atol=1e-5)
    np.testing.assert_allclose(raw.xyxy, whole.xyxy, atol=1e-3)
    if isinstance(whole, PointCandidates) and isinstance(raw, PointCandidates):
        np.testing.assert_allclose(raw.points, whole.points, atol=1e-3)
    if isinstance(whole, MaskCandidates) and isinstance(raw, MaskCandidates):
        np.testing.assert_allclose(raw.coefficients, whole.coefficients, atol=1e-4)
        np.testing.assert_allclose(raw.prototypes, whole.prototypes, atol=1e-4)


def candidates(checkpoint: Path, pictures: F32, size: tuple[int, int] | None, *, raw: bool) -> Candidates:
    """Returns all candidates of the first picture, the largest scores of the whole network first."""
    with Checkpoint(checkpoint) as opened:
        network = build(opened, size, len(pictures), raw=raw)
    model = network.onnx(network.card)
    check(model, network.card, network.head, size, len(pictures))
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    outputs = tuple(output[0] for output in session.run(list(network.card.outputs) or None, {"images": pictures}))
    found = head_of(network.card)(Answer(outputs, network.card, pictures.shape[2:]), 0.0)
    if network.head.anchors and not raw:  # a whole network tells anchor by anchor what a raw head tells cell by cell
        order, first = [], 0
        for stride in network.head.strides:
            cells = (pictures.shape[2] // stride) * (pictures.shape[3] // stride)
            rows = np.arange(first, first + cells * network.head.anchors)
            order.append(rows.reshape(network.head.anchors, cells).T.ravel())
            first += cells * network.head.anchors
        found = found[np.concatenate(order)]
    return found


def test_every_family_has_a_network_here() -> None:
    assert len(list(NETWORKS.glob("*.npz"))) == len(list(NETWORKS.glob("*.pt.xz"))) > 0
