"""The folder of one input's results: its name, its files, and who may write into it."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from watchline.pipeline.files import writing
from watchline.pipeline.tables import DETECTIONS, MOT, TRACKS
from watchline.streams.errors import UsageError

VIDEO = "annotated.mp4"
REPORT = "report.html"
SUMMARY = "summary.json"
FEATURES = "features.npz"
FACE_FEATURES = "face-features.npz"
OUTPUTS = {
    VIDEO: "annotated video",
    REPORT: "report",
    TRACKS: "tracks",
    MOT: "tracks, MOT",
    DETECTIONS: "detections",
    FEATURES: "features",
    FACE_FEATURES: "features, faces",
    SUMMARY: "summary",
}


def result_folder(out: Path, camera: str, taken: Collection[Path]) -> Path:
    """Returns the folder below `out` for the results of `camera`, other than those `taken` in the same call.

    What a file system or a terminal could take for something else becomes "_".

    >>> result_folder(Path("out"), "yard", [Path("out/yard")]).name, result_folder(Path("out"), "..", []).name
    ('yard-2', '_')
    """
    name = re.sub(r"[\\/:\x00-\x1f\x7f]", "_", camera.encode(errors="replace").decode()).strip(". ") or "_"
    names = itertools.chain([name], (f"{name}-{i}" for i in itertools.count(2)))
    return next(folder for name in names if (folder := out / name) not in taken)


def check_free(folder: Path, *, overwrite: bool) -> None:
    """Refuses a folder that results may not go to.

    Raises:
        UsageError: it holds something, and `overwrite` was not asked for; or it is a file.
    """
    with writing(folder):
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"{folder}: is a file; choose another --out")
        if not overwrite and folder.is_dir() and any(folder.iterdir()):
            raise UsageError(f"{folder}: holds results already; choose another --out, or replace them with --overwrite")


@contextmanager
def claimed(folder: Path, *, overwrite: bool) -> Iterator[None]:
    """Makes `folder`, empty of our results, and keeps other runs out of it meanwhile; other files there stay.

    Raises:
        UsageError: as `check_free`; or another run writes there now.
        OutputError: it cannot be made.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        check_free(folder, overwrite=overwrite)
        with writing(folder):
            _remove_results(folder)
        try:
            yield
        except BaseException:
            with suppress(OSError):  # whatever ended it: an empty folder helps nobody
                folder.rmdir()
            raise


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Holds a lock on the folder itself, so that no file is left behind, whatever happens; not on Windows."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(f"{folder}: another run writes there now; wait for it, or choose another --out") from error
        except OSError:
            pass  # a file system without locks: nothing keeps others out
        yield
    finally:
        os.close(handle)


def discard(folder: Path) -> None:
    """Removes what a run that gave nothing left in `folder`, and the folder where nothing else lies there."""
    with suppress(OSError):
        _remove_results(folder)
        folder.rmdir()


def _remove_results(folder: Path) -> None:
    for name in OUTPUTS:
        (folder / name).unlink(missing_ok=True)
