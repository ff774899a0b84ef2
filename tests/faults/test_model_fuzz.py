"""Model files from anywhere never hurt: a sample of what `make fuzz` tries, and every payload that is known."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from tests.detectors import checkpoints
from tests.fakes import make_frame
from tests.faults.model_checkpoint_mutations import checkpoint_mutations, payload_pickles
from tests.faults.model_mutations import interleaved, mutants
from tests.faults.model_onnx_metadata import CARD, EXPORTED
from tests.faults.model_onnx_mutations import onnx_mutations
from watchline.detectors.engine import OnnxEngine
from watchline.detectors.importer.checkpoint import Checkpoint
from watchline.detectors.importer.convert import import_checkpoint
from watchline.detectors.importer.network import build, count_parameters, network_of
from watchline.detectors.network import DetectorOptions, NetworkDetector
from watchline.streams.errors import ModelError, WatchlineError

ROOT = Path(__file__).parent.parent.parent
FORKS = pytest.mark.skipif(sys.platform not in ("linux", "darwin"), reason="the fuzzer forks")
CANARY = "watchline-canary"


@FORKS
@pytest.mark.parametrize("kind", ["checkpoint", "onnx"])
def test_spoilt_files_are_refused_in_one_line_or_run(kind: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.faults.fuzz_models", "--kind", kind, "--count", "36", "--seed", "4"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert "0 offences, seed 4" in done.stdout


@pytest.mark.parametrize("name", payload_pickles(CANARY))
def test_nothing_that_a_payload_names_is_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where the canary would be
    path = tmp_path / "net.pt"
    path.write_bytes(checkpoints.archive(payload_pickles(CANARY)[name][1], [bytes(16)]))
    with pytest.raises(ModelError, match=r"^net\.pt: ") as refusal, Checkpoint(path) as checkpoint:
        count_parameters(network_of(checkpoint))
        build(checkpoint, None)
    assert str(refusal.value).isprintable()
    assert [child.name for child in tmp_path.iterdir()] == ["net.pt"]


def test_a_zip_directory_of_many_megabytes_is_not_taken_apart(tmp_path: Path) -> None:
    path, entry, count = tmp_path / "net.pt", b"PK\1\2" + bytes(42), 400_000
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, len(entry) * count, 4, 0)
    path.write_bytes(b"PK\3\4" + entry * count + end)
    with pytest.raises(ModelError, match="its zip directory cannot be read"):
        Checkpoint(path)


def test_a_file_of_one_byte_is_refused(tmp_path: Path) -> None:
    for byte in range(256):
        (tmp_path / "net.pt").write_bytes(bytes([byte]))
        with pytest.raises(ModelError, match="not a torch checkpoint: it is "):
            Checkpoint(tmp_path / "net.pt")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound")
    (folder / "net.pt").write_bytes(checkpoints.checkpoint({"model": checkpoints.small_network()}))
    return import_checkpoint(folder / "net.pt", folder)


WORDS = [{f"watchline.{key}": value} for key, value in CARD] + [dict(words) for words in EXPORTED]


@pytest.mark.parametrize("number", range(len(WORDS)))
def test_whatever_a_model_says_of_itself_it_is_refused_in_one_line_or_run(
    number: int, sound: Path, tmp_path: Path
) -> None:
    model = onnx.load(sound)
    own = {entry.key: entry.value for entry in model.metadata_props} if number < len(CARD) else {}
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, own | WORDS[number])
    onnx.save(model, tmp_path / "net.onnx")
    try:
        detector = NetworkDetector(OnnxEngine(tmp_path / "net.onnx", "cpu"), DetectorOptions(least_score=0, size=64))
        detector.detect([make_frame()])
        assert all(label.isprintable() for label in detector.labels)
    except WatchlineError as error:
        assert str(error).isprintable()
        assert len(str(error)) < 1000


@FORKS
def test_the_watch_sees_code_that_runs(tmp_path: Path) -> None:
    """Or all would seem well."""
    from tests.faults.fuzz_models import Bench

    bench = Bench(tmp_path)
    for code in ("import os; os.system('true')", "import pickle; pickle.loads(b'cos\\nsystem\\n.')", "open('x', 'w')"):
        subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=bench.environment, check=True)
        assert bench.noted(), code
    subprocess.run([sys.executable, "-c", "import numpy"], env=bench.environment, check=True)
    assert not bench.noted()


def test_the_same_seed_gives_the_same_files() -> None:
    for mutations in (interleaved(checkpoint_mutations(CANARY)), interleaved(onnx_mutations())):
        whole = checkpoints.checkpoint({"model": checkpoints.small_network()})
        some = [mutation for mutation in mutations if mutation.kind in ("bytes", "zip", "network", "payload: code")][
            :40
        ]
        first, again = ([m.data for m in mutants(some, {"net": whole}, 7, 16)] for _ in range(2))
        other = [m.data for m in mutants(some, {"net": whole}, 8, 16)]
        assert first == again
        assert first != other
