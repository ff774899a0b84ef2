"""Small networks that their authors' code built, saved and ran, imported: the same answers, without torch.

networks/NAME.pt.xz is the checkpoint, networks/NAME.npz what went in and came out; `upstream_networks.py --small`
makes both. All weights are random.
"""

from __future__ import annotations

import lzma
from pathlib import Path

import pytest

from tests.parity.comparing import Difference, difference

NETWORKS = Path(__file__).with_name("networks")


@pytest.mark.parametrize("name", sorted(path.stem for path in NETWORKS.glob("*.npz")))
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


def test_every_family_has_a_network_here() -> None:
    assert len(list(NETWORKS.glob("*.npz"))) == len(list(NETWORKS.glob("*.pt.xz"))) > 0
