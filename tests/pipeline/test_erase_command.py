"""`watchline erase`: gone from the store and from exports, with a proof; and nothing goes by mistake."""

from __future__ import annotations

import base64
import json
import os
import signal
import time
from pathlib import Path

import pytest

from tests.command import watchline
from tests.kit.cli import call
from tests.kit.sightings import make_crop, make_sighting
from watchline.pipeline import erasure
from watchline.pipeline.manifests import MANIFEST, read_manifest
from watchline.pipeline.store.seam import Selection
from watchline.pipeline.store.sighting import Sighting
from watchline.pipeline.store.sqlite import open_store


def filled(folder: Path, *sightings: Sighting) -> Path:
    path = folder / "site.db"
    store = open_store(path)
    store.add(sightings)
    store.close()
    return path


def held(path: Path) -> list[str]:
    store = open_store(path)
    found = sorted(each.camera + ":" + str(each.track_id) for each in store.find(Selection(), 100))
    store.close()
    return found


def contents(*folders: Path) -> bytes:
    """All bytes of all files."""
    return b"".join(path.read_bytes() for folder in folders for path in sorted(folder.rglob("*")) if path.is_file())


@pytest.fixture
def people() -> list[Sighting]:
    return [
        make_sighting("dock", 1, crops=[make_crop(), make_crop()]),
        make_sighting("dock", 2, at_s=100),
        make_sighting("gate", 1, at_s=200),
    ]


def test_a_sighting_leaves_no_byte_in_store_and_exports(tmp_path: Path, people: list[Sighting]) -> None:
    site, exports = tmp_path / "site", tmp_path / "exports"
    site.mkdir()
    store = filled(site, *people)
    assert call("sightings", "export", "--store", store, "--out", exports / "all", "--crops").code == 0
    assert call("sightings", "export", "-s", store, "-o", exports / "gate.jsonl", "--camera", "gate").code == 0
    assert call("sightings", "show", "dock:1", "--store", store, "--html", exports / "one.html").code == 0
    gone = people[0]
    marks = [gone.sighting_id.encode(), gone.vectors[0].vector.tobytes(), *(crop.jpeg for crop in gone.crops)]
    marks += [base64.b64encode(each) for each in marks[1:]]
    assert all(mark in contents(site, exports) for mark in marks)
    proof = tmp_path / "proof.json"
    done = call(
        *("erase", "sighting", gone.sighting_id, "--store", store, "--exports", exports, "--yes", "--proof", proof)
    )
    assert done.code == 0, done.err
    assert "1 track in 1 sighting, 2 crops, 1 vector, from 2026-11-22 12:00:00Z" in done.out
    assert "5 exported files, in which 2 other sightings are too" in done.out
    assert "erased 1 sighting, 2 crops, 1 vector, 5 exported files; searched" in done.out
    assert not any(mark in contents(site, exports) for mark in marks)
    assert held(store) == ["dock:2", "gate:1"]
    assert not (exports / "all" / "sheet.html").exists()
    assert (exports / "gate.jsonl").is_file()  # had nothing to do with it
    left = read_manifest(exports / "all" / MANIFEST)
    assert left is not None
    assert len(left.files) == 2  # the crops of the others
    assert not (exports / f"one.html.{MANIFEST}").exists()
    record = json.loads(proof.read_text())
    assert record["complete"] is True
    assert [each["id"] for each in record["sightings"]] == [gone.sighting_id]
    assert (record["crops"], record["vectors"]) == (2, 1)
    assert str(store) in record["searched"]["files"]
    assert len(record["exports"]["deleted"]) == 5
    assert len(record["exports"]["searched_for_sha256"]) == 3
    assert record["exports"]["found"] == []


def test_a_camera_a_track_and_a_time_are_erased(tmp_path: Path, people: list[Sighting]) -> None:
    store = filled(tmp_path, *people)
    assert call("erase", "camera", "gate", "--store", store, "--yes").code == 0
    assert held(store) == ["dock:1", "dock:2"]
    assert call("erase", "track", "dock:2", "--store", store, "--yes").code == 0
    assert held(store) == ["dock:1"]
    assert call("erase", "before", "2026-11-22T12:00Z", "--store", store, "--yes").out.endswith("nothing to erase\n")
    assert call("erase", "before", "2026-11-22T12:00:01Z", "--store", store, "--yes").code == 0
    assert held(store) == []


def test_a_track_goes_with_all_its_parts_and_a_sighting_alone(tmp_path: Path) -> None:
    parts = [make_sighting("dock", 1, at_s=60.0 * i, part=i, track_key="ee" * 16) for i in range(3)]
    store = filled(tmp_path, *parts)
    assert call("erase", "sighting", parts[0].sighting_id, "--store", store, "--yes").code == 0
    assert held(store) == ["dock:1"]
    done = call("erase", "track", parts[2].sighting_id, "--store", store, "--yes")
    assert "erased 2 sightings" in done.out
    assert held(store) == []


def test_a_name_that_means_several_people_erases_none(tmp_path: Path) -> None:
    store = filled(tmp_path, make_sighting("dock", 1), make_sighting("dock", 1, at_s=500))
    done = call("erase", "track", "dock:1", "--store", store, "--yes")
    assert done.code == 2
    assert "2 tracks have this id; name one by its own" in done.err
    assert len(held(store)) == 2


def test_it_asks_and_takes_no_for_an_answer(
    tmp_path: Path, people: list[Sighting], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = filled(tmp_path, *people)
    monkeypatch.setattr("watchline.pipeline.cli.erase._has_terminal", lambda: True)
    done = call("erase", "camera", "dock", "--store", store, answer="n\n")
    assert done.code == 1
    assert "2 tracks in 2 sightings, 3 crops" in done.out
    assert "nothing was erased" in done.out
    assert len(held(store)) == 3
    assert call("erase", "camera", "dock", "--store", store, answer="y\n").code == 0
    assert held(store) == ["gate:1"]


def test_what_is_erased_is_what_was_shown_whatever_came_meanwhile(
    tmp_path: Path, people: list[Sighting], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, proof = filled(tmp_path, *people), tmp_path / "proof.json"

    def somebody_comes(_yes: bool) -> None:
        filled(tmp_path, make_sighting("dock", 3, at_s=300))

    monkeypatch.setattr("watchline.pipeline.cli.erase._ask", somebody_comes)
    done = call("erase", "camera", "dock", "--store", store, "--proof", proof)
    assert done.code == 0
    assert "2 tracks in 2 sightings" in done.out
    assert "erased 2 sightings" in done.out
    assert "1 more came meanwhile, and stayed; erase again" in done.err
    assert held(store) == ["dock:3", "gate:1"]
    record = json.loads(proof.read_text())
    assert record["asked"] == {"cameras": ["dock"]}
    assert [each["id"] for each in record["sightings"]] == [one.sighting_id for one in people[:2]]


def test_without_a_terminal_nothing_goes_unless_yes_is_said(tmp_path: Path, people: list[Sighting]) -> None:
    store = filled(tmp_path, *people)
    done = watchline("erase", "camera", "dock", "--store", store)
    assert done.returncode == 2
    assert "there is no terminal to ask at; add --yes. Nothing was erased" in done.stderr
    assert len(held(store)) == 3


def test_a_copy_that_is_not_in_a_manifest_is_found_and_told(tmp_path: Path, people: list[Sighting]) -> None:
    store = filled(tmp_path, *people)
    exports = tmp_path / "exports"
    exports.mkdir()
    (exports / "picture.jpg").write_bytes(people[0].crops[1].jpeg)
    (exports / "page.html").write_text(
        f"<img src='data:image/jpeg;base64,{base64.b64encode(people[0].crops[0].jpeg).decode()}'>"
    )
    (exports / "notes.txt").write_text(f"seen: {people[0].sighting_id}")
    (exports / "other.txt").write_text(f"seen: {people[1].sighting_id}")
    proof = tmp_path / "proof.json"
    order: list[str | Path] = [
        "erase",
        "sighting",
        people[0].sighting_id,
        "--store",
        store,
        "--exports",
        exports,
        "--yes",
    ]
    done = call(*order, "--proof", proof)
    assert done.code == 1
    assert "notes.txt: holds an id" in done.err
    assert "picture.jpg: holds a picture or vector" in done.err
    assert "3 files still hold some of what was erased; delete what is named above" in done.err
    assert f"`watchline erase check {proof} --exports DIR` looks again" in done.err
    record = json.loads(proof.read_text())
    assert record["complete"] is False
    assert [Path(each["file"]).name for each in record["exports"]["found"]] == ["notes.txt", "page.html", "picture.jpg"]
    assert held(store) == ["dock:2", "gate:1"]
    assert call(*order).code == 1  # the store has forgotten it; its id is still looked for
    (exports / "notes.txt").unlink()
    again = call("erase", "check", proof, "--exports", exports)
    assert again.code == 1
    assert "2 files still hold some" in again.err
    (exports / "page.html").unlink()
    (exports / "picture.jpg").unlink()
    assert call("erase", "check", proof, "--exports", exports).out == (
        "searched 1 file, 38 B: found nothing of what was erased\n"
    )


def test_a_folder_that_cannot_be_read_is_not_said_to_hold_nothing(
    tmp_path: Path, people: list[Sighting], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, exports = filled(tmp_path, *people), tmp_path / "exports"
    closed = exports / "closed"
    closed.mkdir(parents=True)
    read = os.scandir

    def refuse(path: str) -> object:
        if Path(path) == closed:
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(os, "scandir", refuse)
    proof = tmp_path / "proof.json"
    done = call("erase", "camera", "dock", "--store", store, "--yes", "--exports", exports, "--proof", proof)
    assert done.code == 1
    assert f"{closed}: cannot be searched (permission denied)" in done.err
    assert json.loads(proof.read_text())["complete"] is False


def test_a_check_wants_a_proof(tmp_path: Path) -> None:
    for text in ("", "{}", '{"exports": 3}'):
        (tmp_path / "proof.json").write_text(text)
        done = call("erase", "check", tmp_path / "proof.json", "--exports", tmp_path)
        assert done.code == 2
        assert "not a proof of `watchline erase`" in done.err
    assert "cannot be read" in call("erase", "check", tmp_path / "no.json", "--exports", tmp_path).err


def test_an_exported_file_that_was_changed_is_not_deleted_but_found(tmp_path: Path, people: list[Sighting]) -> None:
    store, exports = filled(tmp_path, *people), tmp_path / "exports"
    assert call("sightings", "export", "--store", store, "--out", exports).code == 0
    with (exports / "sheet.html").open("a") as page:
        page.write("<!-- my notes -->")
    done = call("erase", "camera", "dock", "--store", store, "--exports", exports, "--yes")
    assert done.code == 1
    assert "sheet.html: holds an id" in done.err
    assert "1 file still holds some of what was erased" in done.err
    assert not (exports / "sightings.jsonl").exists()


def test_what_cannot_be_searched_or_proven_is_refused_before_anything_goes(
    tmp_path: Path, people: list[Sighting], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = filled(tmp_path, *people)
    there, exports = tmp_path / "there.json", tmp_path / "exports"
    there.write_text("{}")
    exports.mkdir()
    order: list[str | Path] = ["erase", "camera", "dock", "--store", store, "--yes"]
    for options, line in (
        (["--exports", tmp_path / "no"], "no such folder"),
        (["--proof", there], "a proof is never replaced"),
        (["--proof", tmp_path / "no" / "proof.json"], "in a folder that is there"),
        (["--exports", exports, "--proof", exports / "proof.json"], "lies in --exports"),
    ):
        done = call(*order, *map(str, options))
        assert done.code == 2
        assert line in done.err
    monkeypatch.setattr("watchline.pipeline.export_erasure.MOST_SIGHTINGS", 1)
    assert "erase them in steps" in call(*order, "--exports", exports).err
    assert len(held(store)) == 3
    assert call(*order).code == 0  # the store's own search has no such bound


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (["sighting", "ab"], "want a sighting's id, 32 hex digits"),
        (["sighting", "ab" * 16], "no such sighting"),
        (["track", "dock"], "want a sighting's id (32 hex digits) or CAMERA:TRACK"),
        (["track", "dock:9"], "no such track"),
        (["before", "soon"], "before soon: want a time such as"),
    ],
)
def test_what_names_nothing_is_told_on_one_line(
    tmp_path: Path, people: list[Sighting], command: list[str], line: str
) -> None:
    done = call("erase", *command, "--store", filled(tmp_path, *people), "--yes")
    assert done.code == 2
    assert line in done.err


def test_a_camera_that_saw_nothing_is_nothing_to_erase(tmp_path: Path, people: list[Sighting]) -> None:
    done = call("erase", "camera", "yard", "--store", filled(tmp_path, *people))
    assert done.code == 0
    assert "nothing to erase" in done.out


def test_an_interrupt_lets_an_erasure_finish_and_a_second_one_ends_it() -> None:
    told: list[str] = []
    before = signal.getsignal(signal.SIGINT)
    with erasure.finishing(lambda: told.append("finishing")):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)
    assert told == ["finishing"]
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(KeyboardInterrupt), erasure.finishing(lambda: told.append("finishing")):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)
    assert signal.getsignal(signal.SIGINT) is before
