"""An erasure that is killed, at whatever step: nothing is left in the end, and it is proven."""

from __future__ import annotations

import base64
import json
import multiprocessing
import os
import stat
import sys
from pathlib import Path

import pytest

from tests.faults.erasers import STEPS, claim_and_wait, erase_and_die
from tests.kit.cli import call
from tests.kit.sightings import make_crop, make_sighting, make_vector
from watchline.pipeline.store.seam import Selection
from watchline.pipeline.store.sighting import Sighting
from watchline.pipeline.store.sqlite import open_store
from watchline.reid.embeddings import EmbeddingModel, Kind
from watchline.streams.errors import UsageError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="kills and locks as Linux has them")

WIDE = EmbeddingModel("osnet-x0-25", "ab" * 32, Kind.BODY, 256)
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.faults.erasers", "watchline.pipeline.cli.erase", "watchline.pipeline.erasure"])


def person(camera: str, track_id: int) -> Sighting:
    noise = [os.urandom(2000) for _ in range(2)]
    crops = [make_crop(b"\xff\xd8" + each + b"\xff\xd9") for each in noise]
    return make_sighting(camera, track_id, crops=crops, vectors=[make_vector(WIDE)])


def pieces_of(one: Sighting) -> list[bytes]:
    blobs = [crop.jpeg for crop in one.crops] + [vector.vector.tobytes() for vector in one.vectors]
    return [blob[at : at + 24] for blob in blobs for at in range(0, len(blob) - 24, 24)]


def found_in(folder: Path, one: Sighting) -> int:
    everything = b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())
    return sum(piece in everything for piece in pieces_of(one))


def killed(step: str, *arguments: str | Path) -> None:
    """Erases in a process that is killed at a step."""
    process = PROCESSES.Process(target=erase_and_die, args=(step, list(map(str, arguments))))
    process.start()
    process.join(60)
    assert process.exitcode == -9


@pytest.mark.parametrize("step", STEPS)
def test_an_erasure_that_is_killed_is_finished_and_proven_by_the_next(tmp_path: Path, step: str) -> None:
    site, exports, path = tmp_path / "site", tmp_path / "exports", tmp_path / "site" / "site.db"
    site.mkdir()
    gone, kept = [person("dock", number) for number in range(5)], [person("gate", number) for number in range(2)]
    store = open_store(path, ballast_bytes=0)
    store.add([*gone, *kept])
    store.close()
    assert call("sightings", "export", "--store", path, "--camera", "gate", "--out", exports).code == 0
    proof = tmp_path / "proof.json"
    order: list[str | Path] = ["camera", "dock", "--store", path, "--exports", exports, "--yes", "--proof", proof]
    killed(step, *order)
    journal = site / "site.db.erasing"
    assert journal.exists() == (step != "before the journal")
    if journal.exists():
        assert stat.S_IMODE(journal.stat().st_mode) == 0o600
        said = journal.read_bytes() + base64.b64decode(json.loads(journal.read_bytes())["prints"])
        assert not any(piece in said for one in gone for piece in pieces_of(one))
        assert "`watchline erase finish" in call("sightings", "stats", "--store", path).err
    again = call("erase", *order)
    assert again.code == 0, again.err
    assert ("is not proven yet; finishing it" in again.out) == (step != "before the journal")
    assert "erased 5 sightings, 10 crops, 5 vectors" in again.out
    assert [found_in(tmp_path, one) for one in gone] == [0] * 5
    assert all(found_in(site, one) > 0.8 * len(pieces_of(one)) for one in kept)
    record = json.loads(proof.read_text())
    assert record["complete"] is True
    assert record["asked"] == {"cameras": ["dock"]}
    assert [each["id"] for each in record["sightings"]] == [one.sighting_id for one in gone]
    assert (record["crops"], record["vectors"]) == (10, 5)
    assert record["exports"]["searched_files"] == 3
    assert sorted(file.name for file in site.iterdir()) == ["site.db"]
    assert call("erase", "finish", "--store", path).out == "no erasure is unfinished\n"


def test_a_piece_that_was_left_lying_is_found_by_the_prints_of_the_journal(tmp_path: Path) -> None:
    path, one = tmp_path / "site.db", person("dock", 1)
    store = open_store(path, ballast_bytes=0)
    store.add([one, person("gate", 1)])
    store.close()
    killed("before the search", "camera", "dock", "--store", path, "--yes")
    with path.open("ab") as file:  # as a careless database would have left it, in a page that is no longer used
        file.write(b"x" * 3 + one.crops[0].jpeg[500:700])
    assert found_in(tmp_path, one) > 0
    assert call("erase", "finish", "--store", path).code == 0
    assert found_in(tmp_path, one) == 0


def test_a_proof_that_cannot_be_written_leaves_the_erasure_unfinished_and_goes_elsewhere(tmp_path: Path) -> None:
    path, there = tmp_path / "site.db", tmp_path / "proof.json"
    store = open_store(path, ballast_bytes=0)
    store.add([person("dock", 1)])
    store.close()
    killed("before the proof", "camera", "dock", "--store", path, "--yes", "--proof", there)
    there.write_text("of somebody else")
    refused = call("erase", "finish", "--store", path)
    assert refused.code == 1
    assert f"{there}: the proof cannot be written: File exists; `watchline erase finish --proof FILE`" in refused.err
    done = call("erase", "finish", "--store", path, "--proof", tmp_path / "other.json")
    assert done.code == 0
    assert f"proof in {tmp_path / 'other.json'}" in done.out
    assert json.loads((tmp_path / "other.json").read_text())["complete"] is True


def test_a_journal_that_is_damaged_is_told_on_one_line(tmp_path: Path) -> None:
    open_store(tmp_path / "site.db", ballast_bytes=0).close()
    for text in (
        "",
        "{}",
        "[]",
        '{"format": "watchline unfinished erasure 1", "ids": 3, "sha256": [], "prints": "AA=="}',
    ):
        (tmp_path / "site.db.erasing").write_text(text)
        done = call("erase", "camera", "dock", "--store", tmp_path / "site.db", "--yes")
        assert done.code == 1
        assert "site.db.erasing: the journal of an unfinished erasure is damaged" in done.err


def test_an_input_is_claimed_by_one_process_until_that_ends_or_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "site.db"
    store = open_store(path, ballast_bytes=0)
    here, there = PROCESSES.Pipe()
    first = PROCESSES.Process(target=claim_and_wait, args=(path, "/videos/yard.mp4", there))
    first.start()
    assert here.poll(60)
    assert here.recv() == "claimed"
    refusal = r"site\.db: another run fills it from /videos/yard\.mp4 just now"
    with pytest.raises(UsageError, match=refusal), store.claim("/videos/yard.mp4"):
        pass
    with store.claim("/videos/other.mp4"):
        assert len(list(tmp_path.glob("*.claim-*"))) == 2
    first.kill()
    first.join()
    assert len(list(tmp_path.glob("*.claim-*"))) == 1
    with store.claim("/videos/other.mp4"), store.claim("/videos/yard.mp4"):
        pass
    assert [file.name for file in tmp_path.iterdir() if "claim" in file.name] == []
    assert store.count(Selection()) == 0
    store.close()


def site_of(folder: Path, *sightings: Sighting) -> Path:
    """A store, closed."""
    folder.mkdir()
    store = open_store(folder / "site.db", ballast_bytes=0)
    store.add(sightings)
    store.close()
    return folder / "site.db"


def test_nothing_is_proven_of_another_store_that_was_put_in_the_place_of_the_one(tmp_path: Path) -> None:
    proof, one = tmp_path / "proof.json", person("dock", 1)
    path, other = site_of(tmp_path / "site", one), site_of(tmp_path / "other", person("gate", 1))
    killed("before the search", "camera", "dock", "--store", path, "--yes", "--proof", proof)
    before = tmp_path / "before.db"
    path.rename(before)
    other.rename(path)
    for refused in (call("erase", "finish", "--store", path), call("erase", "camera", "gate", "-s", path, "--yes")):
        assert refused.code == 1
        assert "site.db.erasing: the journal of an erasure that was begun in another store" in refused.err
    assert not proof.exists()
    Path(f"{path}.erasing").rename(f"{before}.erasing")
    assert "erased 1 sighting" in call("erase", "finish", "--store", before).out
    assert proof.exists()
    assert found_in(tmp_path, one) == 0


def test_a_copy_from_before_that_was_put_in_the_place_of_the_store_is_erased_from(tmp_path: Path) -> None:
    one = person("dock", 1)
    path = site_of(tmp_path / "site", one)
    copy = tmp_path / "copy"
    copy.write_bytes(path.read_bytes())
    killed("before the search", "camera", "dock", "--store", path, "--yes")
    copy.replace(path)
    assert call("erase", "finish", "--store", path).code == 0
    assert found_in(tmp_path, one) == 0


def test_another_erasure_is_not_taken_for_the_one_broken_off_whose_proof_it_names(tmp_path: Path) -> None:
    path, proof = site_of(tmp_path / "site", person("dock", 1), person("gate", 1)), tmp_path / "proof.json"
    killed("before the proof", "camera", "dock", "--store", path, "--yes", "--proof", proof)
    other = call("erase", "camera", "gate", "--store", path, "--yes", "--proof", proof)
    assert other.code == 2
    assert f"--proof {proof}: is there already" in other.err
    assert "erased 1 sighting" in other.out  # the first one


def test_the_proof_of_one_broken_off_is_not_written_where_it_would_be_found(tmp_path: Path) -> None:
    path, exports = site_of(tmp_path / "site", person("dock", 1)), tmp_path / "exports"
    exports.mkdir()
    killed("before the search", "camera", "dock", "--store", path, "--exports", exports, "--yes")
    refused = call("erase", "finish", "--store", path, "--proof", exports / "proof.json")
    assert refused.code == 2
    assert "lies in --exports" in refused.err
    assert call("erase", "finish", "--store", path, "--proof", tmp_path / "proof.json").code == 0


def test_a_store_that_a_link_leads_to_is_one_with_the_link(tmp_path: Path) -> None:
    path, link = site_of(tmp_path / "site", person("dock", 1)), tmp_path / "link.db"
    link.symlink_to(path)
    killed("before the search", "camera", "dock", "--store", link, "--yes")
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith("link")] == ["link.db"]
    assert "is not proven yet" in call("sightings", "stats", "--store", link).err
    store, same = open_store(link), open_store(path)
    with store.claim("yard.mp4"), pytest.raises(UsageError, match="another run fills it"), same.claim("yard.mp4"):
        pass
    store.close()
    same.close()
    assert "erased 1 sighting" in call("erase", "finish", "--store", path).out


def test_a_journal_that_is_damaged_does_not_keep_a_store_from_being_looked_at(tmp_path: Path) -> None:
    path = site_of(tmp_path / "site", person("dock", 1))
    Path(f"{path}.erasing").write_text("half")
    done = call("sightings", "stats", "--store", path)
    assert (done.code, "dock" in done.out) == (0, True)
    assert "the journal of an unfinished erasure is damaged" in done.err


def test_a_claim_that_another_user_left_keeps_nobody_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = site_of(tmp_path / "site")
    left, opened = f"{path}.claim-{'0' * 16}", os.open
    Path(left).touch()

    def refusing(name: str | Path, *more: int) -> int:
        if str(name) == left:
            raise PermissionError(13, "Permission denied", left)
        return opened(name, *more)

    store = open_store(path)
    monkeypatch.setattr(os, "open", refusing)
    with store.claim("yard.mp4"):
        assert len(list(path.parent.glob("*.claim-*"))) == 2
    store.close()


def test_a_proof_that_says_otherwise_than_the_erasure_ends_is_not_taken_for_its_own(tmp_path: Path) -> None:
    one, exports, proof = person("dock", 1), tmp_path / "exports", tmp_path / "proof.json"
    path, more = site_of(tmp_path / "site", one), tmp_path / "more.json"
    exports.mkdir()
    (exports / "mail.txt").write_text(one.sighting_id)
    killed("after the proof", "camera", "dock", "-s", path, "--exports", exports, "--yes", "--proof", proof)
    assert json.loads(proof.read_text())["complete"] is False
    (exports / "mail.txt").unlink()
    refused = call("erase", "finish", "--store", path)
    assert (refused.code, "the proof cannot be written: File exists" in refused.err) == (1, True)
    assert call("erase", "finish", "--store", path, "--proof", more).code == 0
    assert json.loads(more.read_text())["complete"] is True
