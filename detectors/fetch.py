"""Fetching: how a catalogued file gets into the cache, whole and as published, or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import sys
import time
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Final, TypeAlias

import platformdirs

from watchline.detectors.catalog import Entry, UrlSource
from watchline.detectors.sources import DEFAULT_LIMITS, Body, Limits, Source, SourceError, mirror_source, open_source
from watchline.streams.errors import ModelError, OutputError

Progress: TypeAlias = Callable[[int, int], None]
Announce: TypeAlias = Callable[[str], None]

_RESUMES: Final = 3  # how often a source that broke off, but did bring something, is asked for the rest
_LOCK_POLL_S: Final = 0.1
_MOST_BYTES: Final = 1 << 31  # of a file that nobody pinned; ONNX and protobuf end there


class State(StrEnum):
    """How a catalogued file is in the cache."""

    OK = "ok"
    MISSING = "missing"
    DAMAGED = "damaged"


class _ContentError(SourceError):
    """A source gave the right number of wrong bytes."""


def default_cache() -> Path:
    """Returns the folder of this user's models and clips, by the platform's convention; it may not exist yet."""
    return platformdirs.user_cache_path("watchline") / "models"


def state(entry: Entry, cache: Path) -> State:
    """Returns how the file of `entry` is in `cache`; hashes it, about 10 ms for 6 MB.

    Raises:
        ModelError: it is there but cannot be read.
    """
    path = cache / entry.file
    try:
        if path.stat().st_size == entry.size_bytes and _sha256(path) == entry.sha256:
            return State.OK
    except (FileNotFoundError, NotADirectoryError):
        return State.MISSING
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}; correct its permissions or delete it") from error
    return State.DAMAGED


def _quiet_progress(done_bytes: int, total_bytes: int) -> None:
    """Shows nothing."""


def _quiet_announce(text: str) -> None:
    """Shows nothing."""


def fetch(
    entry: Entry,
    cache: Path,
    mirror: str | None = None,
    progress: Progress = _quiet_progress,
    announce: Announce = _quiet_announce,
    limits: Limits = DEFAULT_LIMITS,
) -> Path:
    """Returns the path of the file of `entry` in `cache`, brought there first where it is missing or damaged.

    Several processes may fetch the same file at once: one does, the others wait for it.

    Args:
        entry: what to fetch.
        cache: folder to keep it in; made where it is missing.
        mirror: a folder or http(s) URL that holds files under their catalog names, tried before all other sources.
        progress: called with the bytes had so far and the bytes in all.
        announce: called with a sentence for a person: the licence before the first use, and a damaged file.
        limits: how long a source may take.

    Raises:
        ModelError: no source gave it; the message says why for each.
        OutputError: the cache cannot be written to.
        UsageError: `mirror` is neither a folder nor an http(s) URL.
    """
    # The mirror goes first: who names one wants no connections out of the site.
    sources: list[Source] = [mirror_source(mirror, entry.file)] if mirror else []
    sources += entry.sources
    if entry.notice:
        _announce_once(entry, cache, announce)
    path = cache / entry.file
    if state(entry, cache) is State.OK:
        return path
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with _locked(cache / f"{entry.file}.lock", limits.total_s):
            found = state(entry, cache)
            if found is State.DAMAGED:
                announce(f"{path} is damaged (its sha256 is not the catalog's); fetching it again")
            if found is not State.OK:  # or else another process brought it while this one waited
                _download(entry, path, sources, progress, limits)
    except OSError as error:  # sources turn theirs into SourceError: what is left is the disk
        problem = error.strerror or error
        raise OutputError(f"cannot write {path}: {problem}; make room or permit writing there") from error
    return path


def fetch_new(
    source: UrlSource,
    path: Path,
    sha256: str = "",
    progress: Progress = _quiet_progress,
    limits: Limits = DEFAULT_LIMITS,
) -> str:
    """Brings a file of which nothing is known yet, and returns its SHA-256.

    Args:
        source: where it is.
        path: where to put it.
        sha256: what it must be; "" for anything.
        progress: called with the bytes had so far and the bytes in all, 0 where the source does not tell.
        limits: how long it may take.

    Raises:
        ModelError: it is not to be had there, too large, or another file than `sha256` says.
        OutputError: it cannot be written.
    """
    part = path.with_name(f"{path.name}.part")
    digest = hashlib.sha256()
    deadline = time.monotonic() + limits.total_s
    done = 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file, open_source(source, 0, limits) as body:
            while data := body.read():
                done += len(data)
                if done > _MOST_BYTES or time.monotonic() > deadline:
                    raise SourceError(f"more than {_MOST_BYTES:,} bytes, or than {limits.total_s:g} s")
                file.write(data)
                digest.update(data)
                progress(done, body.total_bytes or 0)
            if body.total_bytes not in (None, done):
                raise SourceError(f"it broke off after {done} of {body.total_bytes} bytes")
        if sha256 and digest.hexdigest() != sha256:
            raise SourceError(f"sha256 differs: expected {sha256}, got {digest.hexdigest()}")
        part.replace(path)
    except SourceError as failure:
        raise ModelError(f"{source}: {failure}") from failure
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()
    return digest.hexdigest()


def _announce_once(entry: Entry, cache: Path, announce: Announce) -> None:
    """Shows the licence, unless a marker beside the file says that this very text was shown before."""
    text = f"{entry.name}: {entry.notice} {entry.licence}: {entry.licence_url}"
    marker = cache / f"{entry.file}.notice"
    with contextlib.suppress(OSError):
        if marker.read_text("utf-8") == text:
            return
    announce(text)
    with contextlib.suppress(OSError):  # a cache that is read only: shown again next time
        cache.mkdir(parents=True, exist_ok=True)
        marker.write_text(text, "utf-8")


def _download(entry: Entry, path: Path, sources: list[Source], progress: Progress, limits: Limits) -> None:
    """Brings the file from the first source that has it, through a part file that a later try can go on with."""
    part = path.with_name(f"{entry.file}.part")
    failures = []
    for source in sources:
        try:
            _obtain(entry, source, part, progress, limits)
        except SourceError as failure:
            failures.append(f"{source}: {failure}")
        else:
            part.chmod(0o644)  # for every user of a shared cache, whatever the umask
            part.replace(path)
            return
    tried = "; ".join(f"({number}) {failure}" for number, failure in enumerate(failures, 1))
    raise ModelError(
        f"{entry.name}: no source gave {entry.file} ({entry.size_bytes} bytes): {tried}. Put the file at {path}, "
        "or name a folder or URL that holds it in WATCHLINE_MODELS_MIRROR"
    )


def _obtain(entry: Entry, source: Source, part: Path, progress: Progress, limits: Limits) -> None:
    """Completes `part` from `source`, going on where a connection broke off."""
    deadline = time.monotonic() + limits.total_s
    for resumes_left in range(_RESUMES, -1, -1):
        before = _size(part)
        try:
            if before != entry.size_bytes:
                with open_source(source, before if before < entry.size_bytes else 0, limits) as body:
                    _copy(entry, body, part, progress, deadline)
            _check(entry, part)
        except SourceError as failure:
            # Wrong content may be the fault of what an earlier try left; a start from nothing has no such excuse.
            useful = before > 0 if isinstance(failure, _ContentError) else _size(part) > before
            if not useful or not resumes_left or time.monotonic() > deadline:
                raise
        else:
            return


def _copy(entry: Entry, body: Body, part: Path, progress: Progress, deadline: float) -> None:
    """Appends `body` to `part`, or writes it anew where it begins at 0; `deadline` is a time of the monotonic clock."""
    size = entry.size_bytes
    if body.total_bytes not in (None, size):
        raise SourceError(f"it has {body.total_bytes} bytes there, expected {size}")
    done = body.start
    with part.open("ab" if done else "wb") as file:
        while data := body.read():
            done += len(data)
            if done > size:
                file.truncate(0)
                raise SourceError(f"it has more than the expected {size} bytes there")
            file.write(data)
            progress(done, size)
            if time.monotonic() > deadline:
                raise SourceError(f"too slow: {done} of {size} bytes when its time was up")
    if done < size:
        raise SourceError(f"it broke off after {done} of {size} bytes")


def _check(entry: Entry, part: Path) -> None:
    """Deletes a `part` of the wrong content. Reads it back, so what is checked is what the disk has."""
    found = _sha256(part)
    if found != entry.sha256:
        part.unlink()
        raise _ContentError(f"sha256 differs: expected {entry.sha256}, got {found}")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


@contextlib.contextmanager
def _locked(path: Path, limit_s: float) -> Iterator[None]:
    """Holds a lock that lasts as long as the process at most: a crash leaves none behind."""
    deadline = time.monotonic() + limit_s
    with path.open("ab") as file:
        while _is_held_elsewhere(file.fileno()):
            if time.monotonic() > deadline:
                raise ModelError(f"another process has been fetching into {path.parent} for {limit_s:g} s; end it")
            time.sleep(_LOCK_POLL_S)
        yield


def _is_held_elsewhere(descriptor: int) -> bool:
    """Returns False once the lock is ours, or where the file system has no locks: then the sha256 alone guards."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in (errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK)
    return False
