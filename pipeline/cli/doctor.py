"""`watchline doctor`: is this machine fit, and what mends it where it is not."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import typer

from watchline.detectors.catalog import Catalog, Kind
from watchline.detectors.fetch import State, default_cache, state
from watchline.detectors.runtime import load_onnxruntime
from watchline.pipeline.checks import Check, Health, guarded
from watchline.pipeline.cli.checks import tell
from watchline.pipeline.machine import usable_cpus, usable_memory_bytes
from watchline.pipeline.summary import versions
from watchline.streams.errors import ModelError

_LEAST_MEMORY_BYTES = 500_000_000  # a run on one 1080p file peaks at about half of this
_LEAST_DISK_BYTES = 1_000_000_000


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Look at this machine: what is fine, what is not, and how to mend it.

    Ends with exit status 1 if something must be mended before watchline can work.
    """
    tell([guarded(name, check) for name, check in _CHECKS.items()], as_json)


def _python() -> Check:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()} ({sys.executable})"
    return Check("python", Health.OK, found)


def _packages() -> Check:
    found = {name: version for name, version in versions().items() if name != "python"}
    missing = [name for name, version in found.items() if version == "not installed"]
    text = ", ".join(f"{name} {version}" for name, version in found.items())
    if missing:
        return Check("packages", Health.FAIL, text, f"install again: pip install {' '.join(missing)}")
    return Check("packages", Health.OK, text)


def _native() -> Check:
    from watchline.detectors.letterbox import PACK_BACKEND
    from watchline.trackers.native_byte_track import NATIVE

    if PACK_BACKEND == "native" and NATIVE:
        return Check("native code", Health.OK, "built")
    mend = "results are the same; for speed install a C++ compiler (Debian: g++ python3-dev) and watchline again"
    return Check("native code", Health.WARN, "not built, NumPy twins run instead", mend)


def _engine() -> Check:
    try:
        ort = load_onnxruntime()
    except ImportError as error:
        return Check("inference", Health.FAIL, f"onnxruntime: {error}", "pip install --force-reinstall onnxruntime")
    return Check("inference", Health.OK, f"onnxruntime {ort.__version__}: {', '.join(ort.get_available_providers())}")


def _gpu() -> Check:
    from watchline.detectors.gpu import INSTALL, find_gpu, has_provider, tensorrt_version, why_not

    try:
        gpu = find_gpu()
    except ModelError as error:
        if not has_provider("cuda"):
            return Check("gpu", Health.OK, f"none is used: {error}; networks run on the processor")
        mend = "install the NVIDIA driver, or the package onnxruntime in place of onnxruntime-gpu"
        return Check("gpu", Health.WARN, f"{error}; ONNX Runtime is built for CUDA", mend)
    memory = f", {gpu.memory_bytes / 1e9:.1f} GB" if gpu.memory_bytes else ""
    found = f"{gpu.name} ({gpu.capability}{memory}), driver {gpu.driver}"
    reason = why_not("cuda")
    if reason:
        return Check("gpu", Health.WARN, f"{found}; CUDA cannot be used: {reason}", INSTALL)
    version = tensorrt_version()
    if not version[0].isdigit():  # CUDA alone is well
        return Check("gpu", Health.OK, f"{found}; CUDA found; no TensorRT: {version}", f"for TensorRT, {INSTALL}")
    return Check("gpu", Health.OK, f"{found}; CUDA and TensorRT {version} found")


def _ffmpeg() -> Check:
    try:
        import av
    except ImportError as error:
        return Check("video", Health.FAIL, f"PyAV: {error}", "pip install --force-reinstall av")
    codec = ".".join(map(str, av.library_versions["libavcodec"]))
    found = f"PyAV {av.__version__}, FFmpeg {av.ffmpeg_version_info}, libavcodec {codec}"
    if "libx264" not in av.codecs_available:
        return Check("video", Health.WARN, f"{found}, no libx264", "use --no-video, or the av wheel of PyPI")
    return Check("video", Health.OK, f"{found}, H.264 encoder libx264")


def _gstreamer() -> Check:
    from watchline.streams.gstreamer_decoders import HARDWARE, SOFTWARE
    from watchline.streams.gstreamer_library import ELEMENTS, INSTALL, GStreamerMissingError, load

    try:
        library = load()
    except GStreamerMissingError as missing:
        found = f"{missing}: PyAV reads cameras; for hardware decoding {INSTALL}"
        return Check("gstreamer", Health.OK, found)
    lacking = {element: package for element, package in ELEMENTS.items() if not library.has(element)}
    chips = sorted({name for names in HARDWARE.values() for name in names if library.has(name)})
    software = {codec: next(filter(library.has, names), "") for codec, names in SOFTWARE.items()}
    decoders = ", ".join(name for name in software.values() if name) or "none"
    found = f"GStreamer {library.version}; decoders: {decoders}; on a chip: {', '.join(chips) or 'none found'}"
    undecoded = [codec for codec, name in software.items() if not name]
    if not lacking and not undecoded:
        return Check("gstreamer", Health.OK, found)
    packages = {*lacking.values(), *(["gstreamer1.0-libav"] if undecoded else [])}
    missing_names = ", ".join([*lacking, *(f"a decoder for {codec}" for codec in undecoded)])
    mend = f"install its plugins (Debian: {' '.join(sorted(packages))}), or leave cameras to PyAV"
    return Check("gstreamer", Health.WARN, f"{found}; lacks {missing_names}", mend)


def _models() -> Check:
    cache = default_cache()
    found = {entry.name: state(entry, cache) for entry in Catalog.load() if entry.kind is Kind.MODEL}
    text = ", ".join(f"{name} {state}" for name, state in found.items()) + f" ({cache})"
    damaged = [name for name, state in found.items() if state is State.DAMAGED]
    if damaged:
        return Check("models", Health.FAIL, text, f"watchline models pull {' '.join(damaged)}")
    if State.OK not in found.values():
        mend = (
            "`watchline run` fetches it when first needed; without internet: watchline models pull yolov8n --mirror DIR"
        )
        return Check("models", Health.WARN, text, mend)
    return Check("models", Health.OK, text)


def _disk() -> Check:
    cache = default_cache()
    there = next(folder for folder in (cache, *cache.parents) if folder.exists())
    free = {str(folder): shutil.disk_usage(folder).free for folder in (Path.cwd(), there)}
    text = ", ".join(f"{size / 1e9:.1f} GB free at {folder}" for folder, size in free.items())
    if min(free.values()) < _LEAST_DISK_BYTES:
        return Check("disk", Health.WARN, text, "make room, or choose other places with --out and XDG_CACHE_HOME")
    return Check("disk", Health.OK, text)


def _memory() -> Check:
    cpus, free = usable_cpus(), usable_memory_bytes()
    text = f"{free / 1e9:.1f} GB free for {cpus} processor{'s' if cpus > 1 else ''}"
    if free < _LEAST_MEMORY_BYTES:
        mend = f"a run takes up to {_LEAST_MEMORY_BYTES / 1e9:.1f} GB: end other programs, or raise this one's limit"
        return Check("memory", Health.WARN, text, mend)
    return Check("memory", Health.OK, text)


_CHECKS: Mapping[str, Callable[[], Check]] = MappingProxyType(
    {
        "python": _python,
        "packages": _packages,
        "native code": _native,
        "inference": _engine,
        "gpu": _gpu,
        "video": _ffmpeg,
        "gstreamer": _gstreamer,
        "models": _models,
        "disk": _disk,
        "memory": _memory,
    }
)
