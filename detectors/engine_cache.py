"""EngineCache: TensorRT engines, each for one network on one GPU, driver and set of libraries, and for no other."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from watchline.detectors.gpu import Platform
from watchline.detectors.importer.description import hash_file
from watchline.streams.errors import ModelError, OutputError

MOST_ENGINES: Final = 16
MOST_BYTES: Final = 4 << 30
_KEY: Final = "key.json"
_FAILED: Final = ".failed.json"
_MOST_KEY_BYTES: Final = 1 << 16
_ABANDONED_S: Final = 86_400  # a folder that is being written for longer belongs to a process that has died


@dataclass(frozen=True, slots=True)
class EngineKey:
    """All that an engine depends on: what differs in anything is another engine.

    Attributes:
        model: SHA-256 of the ONNX file.
        gpu: name of the GPU.
        capability: its compute capability.
        part: which part of the GPU (MIG); "" for all of it.
        driver: version of its driver.
        tensorrt: version of TensorRT.
        onnxruntime: version of ONNX Runtime.
        precision: "fp16" or "fp32".
        height: of the input, pixels.
        width: of the input, pixels.
        batch: least, usual and most pictures a call.
    """

    model: str
    gpu: str
    capability: str
    part: str
    driver: str
    tensorrt: str
    onnxruntime: str
    precision: str
    height: int
    width: int
    batch: tuple[int, int, int]

    @classmethod
    def of(
        cls, model: str, platform: Platform, precision: str, size: tuple[int, int], batch: tuple[int, int, int]
    ) -> EngineKey:
        """Returns the key of a network on a platform."""
        gpu = platform.gpu
        versions = (gpu.driver, platform.tensorrt, platform.onnxruntime)
        return cls(model, gpu.name, gpu.capability, gpu.part, *versions, precision, *size, batch)

    @property
    def name(self) -> str:
        """A name for it that is fit for a folder."""
        words = json.dumps(dataclasses.asdict(self), sort_keys=True)
        return f"{self.model[:12]}-{self.height}x{self.width}-{hashlib.sha256(words.encode()).hexdigest()[:16]}"


@dataclass(frozen=True, slots=True)
class Entry:
    """An engine that is here.

    Attributes:
        key: what it was built for.
        folder: where its files lie.
        size_bytes: of all its files.
        build_s: how long the build took.
        used_at: when it was last used, seconds of the system's clock.
    """

    key: EngineKey
    folder: Path
    size_bytes: int
    build_s: float
    used_at: float


class EngineCache:
    """Engines in a folder; the least recently used go when there are too many.

    An entry is a folder, put in place whole, whose `key.json` says what it is for and the SHA-256 of every file.
    Several processes may use one cache.

    Args:
        folder: where to keep them; made when it is first written to.
        most: engines kept.
        most_bytes: bytes kept, of all engines together.
        say: called with a sentence when an engine is removed.
    """

    def __init__(
        self,
        folder: Path,
        most: int = MOST_ENGINES,
        most_bytes: int = MOST_BYTES,
        say: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self._folder, self._most, self._most_bytes, self._say = folder, most, most_bytes, say

    def find(self, key: EngineKey) -> Entry | None:
        """Returns the engine for `key`; one with other files than were built is removed."""
        entry = _read(self._folder / key.name)
        if entry is None or entry.key != key:
            return None
        if not is_whole(entry.folder):
            is_gone = self.remove(entry)
            self._say(f"{entry.folder}: the engine is damaged; it {'is removed' if is_gone else 'cannot be removed'}")
            return None
        with contextlib.suppress(OSError):
            os.utime(entry.folder / _KEY)
        return entry

    def best(self, key: EngineKey) -> Entry | None:
        """Returns the engine for `key`, or else one that differs in the batch alone and takes single pictures.

        One that a failure is remembered of is passed over.
        """
        others = [
            e.key
            for e in self.entries()
            if e.key.batch[0] == 1 and dataclasses.replace(key, batch=e.key.batch) == e.key
        ]
        ordered = [key, *sorted(others, key=lambda other: -other.batch[2])]
        usable = (other for other in ordered if not self.failure(other))
        return next((entry for entry in map(self.find, usable) if entry), None)

    def entries(self) -> list[Entry]:
        """Returns all engines, the one used last first. Their files are not checked."""
        try:
            folders = [path for path in self._folder.iterdir() if not path.name.startswith(".") and path.is_dir()]
        except OSError:
            return []
        found = [entry for entry in map(_read, folders) if entry]
        return sorted(found, key=lambda entry: -entry.used_at)

    @contextlib.contextmanager
    def building(self, key: EngineKey) -> Iterator[tuple[Path, Callable[[float], Entry]]]:
        """Gives a folder to build in, and what makes an entry of it, to be called with the seconds that it took.

        What is not made an entry of is removed.

        Raises:
            OutputError: the cache cannot be written to.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(OSError):  # another process sweeps, too
                self._sweep()
            part = Path(tempfile.mkdtemp(prefix=f".{key.name}.", dir=self._folder))
        except OSError as error:
            raise _unwritable(self._folder, error) from error
        try:
            yield part, lambda build_s: self._put(key, part, build_s)
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def _put(self, key: EngineKey, part: Path, build_s: float) -> Entry:
        final = self._folder / key.name
        try:
            files = {path.name: [path.stat().st_size, hash_file(path)] for path in sorted(part.iterdir())}
            record = {"key": dataclasses.asdict(key), "build_s": round(build_s, 1), "files": files}
            with (part / _KEY).open("w", encoding="utf-8") as file:
                json.dump(record, file, indent=2)
                file.flush()
                os.fsync(file.fileno())
            _open_to_all(part)
            if final.exists():  # of another process, or what --force replaces
                shutil.rmtree(final)
            part.replace(final)
        except OSError as error:
            raise _unwritable(final, error) from error
        self.forget_failure(key)
        entry = _read(final)
        if entry is None:
            raise ModelError(f"{final}: the engine was removed while it was put there; build it again")
        self._trim(entry)
        return entry

    def remove(self, entry: Entry) -> bool:
        """Removes an engine, and returns whether it is gone; a process that has loaded it keeps it."""
        try:
            (entry.folder / _KEY).unlink(missing_ok=True)  # first: half of an engine must not look like one
        except OSError:
            return False
        shutil.rmtree(entry.folder, ignore_errors=True)
        return not entry.folder.exists()

    def failure(self, key: EngineKey) -> str:
        """Returns why the last build for `key` failed; "" where none did."""
        try:
            said = json.loads((self._folder / f"{key.name}{_FAILED}").read_text("utf-8"))["reason"]
            return said if isinstance(said, str) else ""
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def remember_failure(self, key: EngineKey, reason: str) -> None:
        """Keeps why a build failed, so that it is not tried again at every start."""
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            record = {"key": dataclasses.asdict(key), "reason": reason[:1000]}
            (self._folder / f"{key.name}{_FAILED}").write_text(json.dumps(record, indent=2), "utf-8")

    def forget_failure(self, key: EngineKey) -> None:
        """Lets a build be tried again."""
        with contextlib.suppress(OSError):
            (self._folder / f"{key.name}{_FAILED}").unlink(missing_ok=True)

    def _trim(self, newest: Entry) -> None:
        """Removes the least recently used engines while there are too many; never the newest."""
        kept, size = 1, newest.size_bytes
        for entry in self.entries():
            if entry.folder == newest.folder:
                continue
            kept, size = kept + 1, size + entry.size_bytes
            if (kept > self._most or size > self._most_bytes) and self.remove(entry):
                self._say(
                    f"{entry.folder}: removed, the least recently used of more than {self._most} engines or "
                    f"{self._most_bytes:,} bytes"
                )
                kept, size = kept - 1, size - entry.size_bytes

    def _sweep(self) -> None:
        """Removes what builds left that were cut off, and all but the newest failures."""
        failures = sorted(self._folder.glob(f"*{_FAILED}"), key=lambda path: path.stat().st_mtime)
        for path in failures[: -4 * self._most]:
            path.unlink(missing_ok=True)
        for path in self._folder.glob(".*.*"):
            if path.is_dir() and time.time() - path.stat().st_mtime > _ABANDONED_S:
                shutil.rmtree(path, ignore_errors=True)


def is_whole(folder: Path) -> bool:
    """Returns whether the files of an entry are those that were built, no more and no fewer."""
    record = _record(folder)
    if record is None:
        return False
    try:
        there = {path.name for path in folder.iterdir()} - {_KEY}
        return there == set(record["files"]) and all(
            (folder / name).stat().st_size == size and hash_file(folder / name) == sha256
            for name, (size, sha256) in record["files"].items()
        )
    except (OSError, ModelError):
        return False


def _open_to_all(folder: Path) -> None:
    """Lets others than who built it read an engine; a temporary folder is its maker's alone."""
    for path in folder.iterdir():
        path.chmod(0o644)
    folder.chmod(0o755)


def _read(folder: Path) -> Entry | None:
    """Returns the entry in `folder`; None if there is none, or nothing that could be one."""
    record = _record(folder)
    if record is None:
        return None
    try:
        key = EngineKey(**{**record["key"], "batch": tuple(record["key"]["batch"])})
        size = sum(int(size) for size, _ in record["files"].values())
        return Entry(key, folder, size, float(record["build_s"]), (folder / _KEY).stat().st_mtime)
    except (OSError, KeyError, TypeError, ValueError):
        return None


def _record(folder: Path) -> dict[str, Any] | None:
    try:
        with (folder / _KEY).open("rb") as file:
            record = json.loads(file.read(_MOST_KEY_BYTES))
        files = record["files"]
        plain = all(Path(name).name == name and len(facts) == 2 for name, facts in files.items())
        return record if plain and files and isinstance(record, dict) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _unwritable(path: Path, error: OSError) -> OutputError:
    return OutputError(f"cannot write {path}: {error.strerror or error}; make room or permit writing there")
