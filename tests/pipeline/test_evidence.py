from __future__ import annotations

import base64
import json
import os
import shutil
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.kit.cli import call
from watchline.pipeline.evidence.archive import ArchiveError, is_name, read_archive, write_archive
from watchline.pipeline.evidence.bundle import README, Evidence, Item, ItemKind, Model, Segment, write_evidence
from watchline.pipeline.evidence.verifying import check
from watchline.pipeline.manifests import manifests_in
from watchline.pipeline.signing import PublicKey, SiteKey
from watchline.streams.errors import OutputError, UsageError

NOON = 1_795_348_800.0
JPEG = b"\xff\xd8" + bytes(range(256)) * 4 + b"\xff\xd9"


def evidence(*items: Item) -> Evidence:
    """Evidence of two crops and a clip, or of `items`."""
    some = (
        Item("crops/1.jpg", JPEG, ItemKind.CROP, blurred=True, sightings=("ab" * 16,), about={"rank": 1}),
        Item("crops/2.jpg", JPEG[::-1], ItemKind.CROP, blurred=True, sightings=("cd" * 16,)),
        Item("match.json", b"{}", ItemKind.RECORD),
    )
    return Evidence(
        case="C-2026-17",
        operator="anna",
        made_at=NOON,
        audit_head="17:" + "ef" * 32,
        store="site.db",
        items=items or some,
        segments=(Segment("shop.mp4", "shop", "12" * 32, "file", NOON - 60, NOON - 40, "file"),),
        models=(Model("body", "osnet-x0-25", "ab" * 32),),
        config_sha256="34" * 32,
        thresholds={"false_alarms_per_day": 0.1},
        version="0.1.0",
    )


@pytest.fixture
def key(tmp_path: Path) -> SiteKey:
    return SiteKey.load_or_make(tmp_path / "site.key")


@pytest.fixture
def made(tmp_path: Path, key: SiteKey) -> Path:
    out = tmp_path / "C-2026-17.zip"
    write_evidence(out, evidence(), key)
    return out


def test_evidence_that_nobody_touched_is_as_it_was_signed(made: Path, key: SiteKey) -> None:
    done = check(made, key.public)
    assert (done.problems, done.files, done.is_given_key) == ([], 7, True)
    assert done.fingerprint == key.public.fingerprint
    assert done.manifest["case"] == "C-2026-17"
    assert made.stat().st_mode & 0o777 == 0o600


def test_the_same_evidence_gives_the_same_bytes(made: Path, key: SiteKey, tmp_path: Path) -> None:
    clip = tmp_path / "source.mp4"
    clip.write_bytes(JPEG * 2000)
    items = [*evidence().items, Item("clips/1.mp4", clip, ItemKind.CLIP, blurred=True)]
    for name, order in (("a.zip", items), ("b.zip", items[::-1])):
        write_evidence(tmp_path / name, evidence(*order), key)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    assert check(tmp_path / "a.zip", key.public).problems == []


def test_any_program_for_zips_opens_it(made: Path) -> None:
    with zipfile.ZipFile(made) as archive:
        assert archive.testzip() is None
        assert archive.read("crops/1.jpg") == JPEG
        manifest = json.loads(archive.read("manifest.json"))
    assert manifest["segments"][0]["started_at"] == "2026-11-22T11:59:00.000+00:00"
    assert manifest["segments"][0]["clock"] == "file"
    assert manifest["files"][1]["about"] == {"rank": 1}


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here")
def test_openssl_checks_the_signature_as_the_text_within_says(made: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(made) as archive:
        archive.extractall(tmp_path)
        text = archive.read("README.txt").decode()
    command = next(line.split() for line in text.splitlines() if "openssl" in line)
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=20, check=False).returncode == 0
    (tmp_path / "manifest.json").write_bytes(b"{}")
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=20, check=False).returncode != 0


def zipped(path: Path, files: dict[str, bytes], **kinds: int) -> None:
    """Writes a ZIP that looks like ours."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            info = zipfile.ZipInfo(name)
            info.create_system, info.external_attr = 3, kinds.get("mode", 0o100644) << 16
            archive.writestr(info, data, kinds.get("method", zipfile.ZIP_STORED))


def contents(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


Spoil = Callable[[dict[str, bytes]], dict[str, bytes]]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda files: files | {"crops/1.jpg": b"\xff" + JPEG[1:-1] + b"\0"}, "crops/1.jpg: changed: its SHA-256 is"),
        (lambda files: files | {"crops/1.jpg": JPEG + b"\0"}, "crops/1.jpg: changed: its SHA-256 is"),
        (lambda files: files | {"README.txt": b"All is well."}, "README.txt: changed"),
        (lambda files: {name: files[name] for name in files if name != "match.json"}, "match.json: missing"),
        (lambda files: files | {"crops/3.jpg": b"new"}, "crops/3.jpg: added: the manifest does not know it"),
        (lambda files: files | {"more.json": files.pop("match.json")}, "more.json: renamed: the manifest calls it mat"),
        (lambda files: files | {"manifest.json": files["manifest.json"].replace(b"anna", b"otto")}, "manifest.json: c"),
        (lambda files: files | {"manifest.sig": b"\0" * 64}, "manifest.json: changed: the signature does not fit it"),
        (lambda files: files | {"manifest.sig": b"\0" * 65}, "manifest.sig: is missing, or too large"),
        (lambda files: {name: files[name] for name in files if name != "site.pub"}, "site.pub: is missing"),
        (lambda files: files | {"site.pub": b"-----BEGIN"}, "site.pub: holds no public key"),
        (lambda files: files | {"../evil.sh": b""}, "'../evil.sh': a name that leads elsewhere"),
        (lambda files: files | {"/etc/passwd": b""}, "'/etc/passwd': a name that leads elsewhere"),
        (lambda files: files | {"C:\\evil": b""}, "a name that leads elsewhere"),
        (lambda files: files | {"CROPS/1.jpg": b""}, "CROPS/1.jpg: two files have this name"),
    ],
)  # fmt: skip
def test_a_spoilt_zip_gives_one_line_that_says_how(made: Path, key: SiteKey, spoil: Spoil, said: str) -> None:
    zipped(made, spoil(contents(made)))
    (problem,) = check(made, key.public).problems
    assert problem.startswith(said) or said in problem


def test_two_files_of_one_name_are_told(made: Path, key: SiteKey) -> None:
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(made, "a") as archive:
        archive.writestr("crops/1.jpg", b"other")
    assert check(made, key.public).problems == ["crops/1.jpg: two files have this name"]


def test_a_link_is_told(made: Path, key: SiteKey) -> None:
    zipped(made, contents(made), mode=0o120777)
    assert check(made, key.public).problems == ["manifest.json: is a link, not a file"]


def test_a_zip_bomb_is_not_unpacked(made: Path, key: SiteKey) -> None:
    zipped(made, {"a.json": b"\0" * 50_000_000}, method=zipfile.ZIP_DEFLATED)
    (problem,) = check(made, key.public).problems
    assert problem.startswith("a.json: is compressed, ")
    assert "say to become 50000000" in problem


def test_files_that_lie_over_each_other_are_told(made: Path, key: SiteKey) -> None:
    data = made.read_bytes()
    at = data.rindex(b"PK\1\2")
    spoilt = bytearray(data)
    spoilt[at + 42 : at + 46] = struct.pack("<L", 0)  # the last file begins where the first does
    made.write_bytes(spoilt)
    assert "where other data could hide" in check(made, key.public).problems[0]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda data: data + b"\0" * 99, "99 bytes after its end"),
        (lambda data: data[:-2] + b"\2\0hi", "2 bytes after its end"),
        (lambda data: b"#!/bin/sh\n" + data, "the list of files is not where its end says"),
        (lambda data: data[:-30], "is no evidence file, or its end is missing"),
        (lambda data: data[: len(data) // 2], "is no evidence file, or its end is missing"),
        (lambda data: b"", "is no evidence file, or its end is missing"),
        (lambda data: data[:10] + b"\7" + data[11:], "manifest.json: what stands before it is not what belongs there"),
        (lambda data: data.replace(JPEG, JPEG[:-1] + b"\0"), "crops/1.jpg: its CRC-32 does not fit it"),
        (lambda data: data[:-12] + b"\xff" * 2 + data[-10:], "says that it holds 65535 files"),
    ],
)
def test_bytes_that_do_not_belong_there_are_told(
    made: Path, key: SiteKey, spoil: Callable[[bytes], bytes], said: str
) -> None:
    made.write_bytes(spoil(made.read_bytes()))
    (problem,) = check(made, key.public).problems
    assert problem.startswith(said)


def test_every_flipped_byte_is_found(made: Path, key: SiteKey) -> None:
    data = made.read_bytes()
    for place in range(0, len(data), 37):
        made.write_bytes(data[:place] + bytes([data[place] ^ 0x20]) + data[place + 1 :])
        assert check(made, key.public).problems, place


def test_evidence_signed_anew_by_somebody_else_is_told_by_the_key_given(
    made: Path, key: SiteKey, tmp_path: Path
) -> None:
    forger = SiteKey.load_or_make(tmp_path / "forger.key")
    write_evidence(made, replace(evidence(), operator="otto"), forger, overwrite=True)
    assert check(made).problems == []  # the file alone cannot tell
    assert check(made).is_given_key is None
    done = check(made, key.public)
    assert done.problems == [
        f"signed by key {forger.public.fingerprint}, not by the key given, {key.public.fingerprint}"
    ]
    files = contents(made)
    zipped(made, files | {"site.pub": key.public.pem})
    assert check(made, key.public).problems == ["manifest.json: changed: the signature does not fit it"]


def test_an_erasure_finds_evidence_by_the_manifest_beside_it(made: Path) -> None:
    ((path, manifest),) = manifests_in(made.parent)
    assert path.name == "C-2026-17.zip.watchline-export.json"
    assert manifest.files[0].sightings == ("ab" * 16, "cd" * 16)
    assert manifest.files[0].place(made.parent) == made


@pytest.mark.parametrize(
    "name", ["../a", "/a", "a\\b", "manifest.json", "Site.pub", "a//b", "", "a" * 201, "ä.jpg", "a/"]
)
def test_names_that_may_not_be_are_refused(tmp_path: Path, key: SiteKey, name: str) -> None:
    with pytest.raises(UsageError, match="no name for a file"):
        write_evidence(tmp_path / "a.zip", evidence(Item(name, b"", ItemKind.RECORD)), key)
    assert not (tmp_path / "a.zip").exists()
    assert name in {"manifest.json", "Site.pub"} or not is_name(name)


def test_pictures_that_show_others_need_a_reason(tmp_path: Path, key: SiteKey) -> None:
    bare = evidence(Item("a.jpg", JPEG, ItemKind.CROP))
    with pytest.raises(UsageError, match="blur it, or say why not"):
        write_evidence(tmp_path / "a.zip", bare, key)
    write_evidence(tmp_path / "a.zip", replace(bare, unblurred_because="order 17/26 of the court"), key)
    assert check(tmp_path / "a.zip").manifest["unblurred_because"] == "order 17/26 of the court"


def test_evidence_never_takes_the_place_of_a_file_unasked(made: Path, key: SiteKey) -> None:
    before = made.read_bytes()
    with pytest.raises(UsageError, match="is there already"):
        write_evidence(made, evidence(), key)
    assert made.read_bytes() == before


def test_a_file_that_changes_meanwhile_or_is_gone_leaves_no_evidence(
    tmp_path: Path, key: SiteKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OutputError, match="cannot be read"):
        write_evidence(tmp_path / "a.zip", evidence(Item("a.json", tmp_path / "none", ItemKind.RECORD)), key)

    class Growing(type(tmp_path)):  # type: ignore[misc]
        def open(self, *args: object, **kwargs: object) -> object:
            with Path(self).open("ab") as file:
                file.write(b"x")
            return Path(self).open(*args, **kwargs)  # type: ignore[call-overload]

    with pytest.raises(OutputError, match="changed while it was exported"):
        write_evidence(tmp_path / "a.zip", evidence(Item("a.json", Growing(tmp_path / "b"), ItemKind.RECORD)), key)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "site.key"]


def test_the_command_says_who_signed_and_that_all_is_well(made: Path, key: SiteKey, tmp_path: Path) -> None:
    pub = tmp_path / "site.pub"
    pub.write_bytes(key.public.pem)
    said = call("export", "verify", made, "--key", pub)
    assert (said.code, said.err) == (0, "")
    assert f"signed by key {key.public.fingerprint}, the key given" in said.out
    assert "7 files, all as they were signed" in said.out
    without = call("export", "verify", made)
    assert without.code == 0
    assert "whose that is was not checked: give --key" in without.out


def test_the_command_fails_where_something_is_wrong(made: Path, key: SiteKey, tmp_path: Path) -> None:
    made.write_bytes(made.read_bytes() + b"x")
    said = call("export", "verify", made)
    assert said.code == 1
    assert "1 byte after its end" in said.err
    as_json = call("export", "verify", made, "--json")
    assert (as_json.code, json.loads(as_json.out)["problems"]) == (1, ["1 byte after its end"])
    assert call("export", "verify", tmp_path / "none.zip").code == 1
    assert call("export", "verify", tmp_path).code == 1
    os.mkfifo(tmp_path / "pipe")
    assert "is no file" in call("export", "verify", tmp_path / "pipe").err
    assert "is no file" in call("export", "verify", made, "--key", tmp_path / "pipe").err


def test_verifying_needs_neither_a_site_nor_the_packages_for_video(made: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from watchline.pipeline.evidence.verifying import check; "
        "print(check(Path(sys.argv[1])).problems, {'av', 'cv2', 'onnxruntime', 'sqlalchemy'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", script, str(made)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[] set()"


def test_the_key_is_made_once_and_its_public_half_printed(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "site.key"
    said = call("export", "key", "--site-key", path)
    assert said.code == 0
    assert path.stat().st_mode & 0o777 == 0o600
    public = PublicKey.from_pem(said.out.encode(), "out")
    assert f"fingerprint {public.fingerprint}" in said.err
    assert call("export", "key", "--site-key", path).out == said.out
    assert [each.name for each in path.parent.iterdir()] == ["site.key"]


def pem(kind: str) -> bytes:
    """A file with a key that is no site's key."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    key = ec.generate_private_key(ec.SECP256R1())
    locked = BestAvailableEncryption(b"secret") if kind == "locked" else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "holds no private key, or a damaged one"),
        (b"-----BEGIN PRIVATE KEY-----\n" + base64.b64encode(b"x" * 40) + b"\n", "holds no private key"),
        (b"x" * 20_000, "is no file with a key"),
        (pem("ec"), "is a key of another kind"),
        (pem("locked"), "asks for a password"),
    ],
    ids=["empty", "damaged", "large", "other", "locked"],
)
def test_what_is_no_site_key_is_refused_in_a_line(tmp_path: Path, data: bytes, said: str) -> None:
    path = tmp_path / "site.key"
    path.write_bytes(data)
    path.chmod(0o600)
    told = call("export", "key", "--site-key", path)
    assert told.code == 2
    assert said in told.err
    assert path.read_bytes() == data


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "site.key"
    SiteKey.load_or_make(path)
    path.chmod(0o640)
    told = call("export", "key", "--site-key", path)
    assert told.code == 2
    assert "others may read the site's key (mode 640)" in told.err


def test_a_private_key_is_not_taken_for_a_public_one(made: Path, tmp_path: Path) -> None:
    told = call("export", "verify", made, "--key", tmp_path / "site.key")
    assert told.code == 2
    assert "is a private key" in told.err


def test_a_hostile_list_of_files_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(b"\0" * 100 + struct.pack("<4sHHHHLLH", b"PK\5\6", 0, 0, 1, 1, 0xFFFFFF, 0, 0))
    with path.open("rb") as file, pytest.raises(ArchiveError, match="not where its end says"):
        read_archive(file)


def signed(path: Path, key: SiteKey, manifest: bytes, pem: bytes | None = None) -> Path:
    """Writes evidence of any manifest, with the other files of ours."""
    ours = {"manifest.json": manifest, "manifest.sig": key.sign(manifest), "site.pub": pem or key.public.pem}
    with path.open("wb") as file:
        write_archive(file, [(name, [data]) for name, data in (ours | {"README.txt": README}).items()])
    return path


@pytest.mark.parametrize("changed", [lambda pem: b"seen by a court\n" + pem, lambda pem: pem.replace(b"\n", b"\r\n")])
def test_words_beside_the_key_in_it_are_told(
    made: Path, key: SiteKey, tmp_path: Path, changed: Callable[[bytes], bytes]
) -> None:
    manifest = contents(made)["manifest.json"]
    done = check(signed(tmp_path / "a.zip", key, manifest, changed(key.public.pem)), key.public)
    assert done.problems == ["site.pub: is not written as it is here, where other words could stand"]


def rows(*each: str) -> str:
    return f'"files":[{",".join(each)}]'


A_ROW = '{"name":"a","sha256":"b","size_bytes":1}'


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (rows(A_ROW.replace("1", "1e999")), "manifest.json: its list of files is damaged"),
        (rows("7"), "manifest.json: its list of files is damaged"),
        (rows(A_ROW, A_ROW.replace('"b"', '"c"')), "manifest.json: names a file twice"),
        (rows(*[A_ROW] * 10_001), "manifest.json: names 10001 files, more than 10000"),
        (rows() + ',"x":' + "[" * 600 + "]" * 600, "manifest.json: holds values within values, more than 16 deep"),
    ],
)
def test_a_hostile_manifest_that_somebody_signed_is_one_line(
    key: SiteKey, tmp_path: Path, fields: str, said: str
) -> None:
    manifest = f'{{"format":"watchline evidence 1","signed_by":"{key.public.fingerprint}",{fields}}}'
    path = signed(tmp_path / "a.zip", key, manifest.encode())
    assert json.loads(call("export", "verify", path, "--json").out)["problems"] == [said]


def test_what_a_manifest_says_does_not_flood_the_terminal(key: SiteKey, tmp_path: Path) -> None:
    fields = f'"signed_by":"{key.public.fingerprint}","case":"{"C" * 100_000}"'
    manifest = f'{{"format":"watchline evidence 1",{fields},{rows()}}}'
    told = call("export", "verify", signed(tmp_path / "a.zip", key, manifest.encode()))
    assert f"case {'C' * 200}..., operator -" in told.out
    assert len(told.out) < 1000


def test_what_nobody_could_verify_is_not_written(key: SiteKey, tmp_path: Path) -> None:
    deep: list[object] = []
    for _ in range(20):
        deep = [deep]
    out = tmp_path / "a.zip"
    with pytest.raises(UsageError, match="too much to say of the items"):
        write_evidence(out, evidence(Item("match.json", b"{}", ItemKind.RECORD, about={"deep": deep})), key)
    assert not out.exists()
