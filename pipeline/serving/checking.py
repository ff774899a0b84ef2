"""Proves that a site can run here, before it does: models, cameras, disk, memory, ports, clock."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

from watchline.pipeline.checks import Check, Health, guarded
from watchline.pipeline.machine import usable_cpus, usable_memory_bytes
from watchline.pipeline.model import label_of
from watchline.pipeline.serving.clock import check_clock
from watchline.pipeline.serving.networks import Networks
from watchline.pipeline.site.kept import Sightings
from watchline.pipeline.site.settings import camera_settings, connector, ingest_settings
from watchline.pipeline.site.site import Camera, Http, Site
from watchline.reid.embeddings import EmbeddingModel
from watchline.streams.errors import UsageError, WatchlineError
from watchline.streams.failure import CameraError
from watchline.streams.probe import probe
from watchline.streams.shared_budget import SharedBudget
from watchline.streams.shared_pictures import shareable

_PROBES: Final = 8  # cameras looked at at a time
_LOOK_S: Final = 1.5  # for which each is looked at
_BASE_BYTES: Final = 400 << 20  # the service itself with one model, as measured, and some
_CAMERA_BYTES: Final = 24 << 20  # a 720p camera in a process of four, as measured
_SIGHTINGS_BYTES: Final = 200 << 20  # of the network that makes vectors, as measured, and of what may wait for it
_FACES_BYTES: Final = 100 << 20  # of the networks of faces beside it
_SHARE: Final = 4  # of the free memory, one in so many parts is for shared pictures


def check_site(site: Site, networks: Networks, *, probing: bool = True) -> Iterator[Check]:
    """Yields what is found, check after check; cameras last, for they take longest.

    Args:
        site: read from its file.
        networks: finds the models.
        probing: connect to the cameras.
    """
    for warning in site.warnings:
        yield Check("site", Health.WARN, warning)
    for name in site.models:
        yield guarded(f"model {name}", partial(_model, site, name, networks))
    yield guarded("storage", partial(_storage, site))
    if site.sightings is not None:
        yield guarded("sightings", partial(_sightings, site, site.sightings, networks))
    yield guarded("memory", partial(_memory, site))
    yield guarded("shared memory", partial(_shared_memory, site))
    yield guarded("http", partial(_http, site))
    yield guarded("clock", check_clock)
    if probing:
        yield from _cameras(site)


def _model(site: Site, name: str, networks: Networks) -> Check:
    wanted = site.models[name]
    try:
        settings = networks.settings(name, wanted)
        opened = settings.open()
    except WatchlineError as error:
        return Check(f"model {name}", Health.FAIL, str(error), "see what the sentence names")
    try:
        info, known = opened.info(), opened.detector.labels
    finally:
        opened.close()
    unknown = {cls for camera in site.cameras if site.model_of(camera) == name for cls in camera.classes} - {*known}
    if unknown:
        mend = f"classes that it knows: {', '.join(known[:20])}"
        return Check(f"model {name}", Health.FAIL, f"{wanted.model} knows no class {', '.join(sorted(unknown))}", mend)
    found = f"{wanted.model} on {info.provider}, SHA-256 {settings.network.sha256[:12]}..."
    if info.fallbacks:
        return Check(
            f"model {name}", Health.WARN, f"{found}: {info.fallbacks[-1].reason}", "`watchline doctor` says more"
        )
    return Check(f"model {name}", Health.OK, found)


def _storage(site: Site) -> Check:
    folder = site.storage.path
    there = next(each for each in (folder, *folder.parents) if each.exists())
    try:
        with tempfile.TemporaryFile(dir=there) as trial:
            trial.write(b"watchline")
            trial.flush()
            os.fsync(trial.fileno())
        free = shutil.disk_usage(there).free
    except OSError as error:
        problem = (error.strerror or str(error)).lower()
        return Check("storage", Health.FAIL, f"{folder}: cannot write ({problem})", "allow it, or choose storage.path")
    found = f"{free / 1e9:.1f} GB free at {folder}"
    if free < site.retention.free:
        mend = "make room, or lower retention.free: the oldest tracks would go at once"
        return Check("storage", Health.WARN, f"{found}, {site.retention.free / 1e9:.1f} GB are to stay free", mend)
    size = site.retention.tracks_size + (site.retention.sightings_size if site.sightings is not None else 0)
    if free < site.retention.free + size:
        what, keys = "tracks", "retention.tracks_size"
        if site.sightings is not None:
            what, keys = "tracks and sightings", f"{keys} and sightings_size"
        mend = f"{what} would go before their days are over; make room, or lower {keys}"
        return Check("storage", Health.WARN, found, mend)
    return Check("storage", Health.OK, found)


def _sightings(site: Site, wanted: Sightings, networks: Networks) -> Check:
    """Runs the networks that describe people, and looks at the store; one of an older schema is left as it is."""
    from watchline.pipeline.serving.sightings import check_store, may_pass
    from watchline.pipeline.store.unfinished import unfinished_line

    try:
        people = networks.people(wanted)
        there = check_store(site.sightings_file)
    except WatchlineError as error:
        meanwhile = "; the service would run, and store no sightings until then" if may_pass(error) else ""
        return Check("sightings", Health.FAIL, str(error), f"see what the sentence names{meanwhile}")
    kept = "with pictures" if wanted.crops else "without pictures"
    found = _described(people.body.model)
    if wanted.faces is not None and people.faces is not None:
        found += f"; faces by {label_of(wanted.faces.detector)} and {_described(people.faces.embedder.model)}"
    found += f"; {kept}, {there}"
    if left := unfinished_line(site.sightings_file):
        return Check("sightings", Health.WARN, found, left)
    if all(not camera.sightings for camera in site.cameras):
        return Check("sightings", Health.WARN, found, "no camera has `sightings: true`: nothing will be kept")
    return Check("sightings", Health.OK, found)


def _described(model: EmbeddingModel) -> str:
    return f"{model.name}, vectors of {model.dimension} numbers, SHA-256 {model.sha256[:12]}..."


def _memory(site: Site) -> Check:
    free, cpus = usable_memory_bytes(), usable_cpus()
    need = _BASE_BYTES * len(site.models) + _CAMERA_BYTES * len(site.cameras)
    if site.sightings is not None:
        need += _SIGHTINGS_BYTES + (_FACES_BYTES if site.sightings.faces is not None else 0)
    found = f"{free / 1e9:.1f} GB free for {cpus} processor{'s' if cpus > 1 else ''}; about {need / 1e9:.1f} GB needed"
    if need > free:
        return Check("memory", Health.FAIL, found, "use fewer cameras or models here, or end other programs")
    return Check("memory", Health.OK, found)


def _shared_memory(site: Site) -> Check:
    settings = ingest_settings(site.ingest)
    if settings.group_size == 0:
        return Check("shared memory", Health.OK, "not needed: ingest.group_size is 0")
    if not shareable():
        mend = "set ingest.group_size to 0: cameras are then read in one process"
        return Check("shared memory", Health.FAIL, "this system gives none without a name (memfd_create)", mend)
    bound = settings.memory_bytes or usable_memory_bytes() // _SHARE
    try:
        budget = SharedBudget(bound, settings.slots, usable_memory_bytes)
        budget.check(len(site.cameras), *settings.expected_size)
    except UsageError as error:
        return Check("shared memory", Health.FAIL, str(error), "raise ingest.memory, or read fewer cameras here")
    return Check("shared memory", Health.OK, f"{bound / 1e9:.1f} GB may be used")


def _http(site: Site) -> Check:
    http = site.http
    family = socket.AF_INET6 if ":" in http.host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((http.host, http.port))
    except OSError as error:
        if _is_ours(http):
            return Check("http", Health.WARN, f"{http.listen}: a watchline answers there already", "end it first")
        problem = (error.strerror or str(error)).lower()
        mend = "choose another http.listen, or end what listens there (a service that runs already?)"
        return Check("http", Health.FAIL, f"{http.listen}: {problem}", mend)
    guard = "a token is asked for" if http.token_file else "this machine alone reaches it"
    return Check("http", Health.OK, f"{http.listen} is free; {guard}")


def _is_ours(http: Http) -> bool:
    """Returns whether what listens there is a watchline."""
    scheme = "https" if http.tls else "http"
    try:
        answer = urllib.request.urlopen(  # noqa: S310  # the site's own address
            f"{scheme}://{http.listen}/healthz",
            timeout=2,
            context=ssl._create_unverified_context(),  # noqa: S323, SLF001
        )
    except urllib.error.HTTPError as error:
        answer = error
    except (OSError, ValueError):
        return False
    with answer:
        return b'"alive"' in answer.read(4096)


def _cameras(site: Site) -> Iterator[Check]:
    with ThreadPoolExecutor(_PROBES, thread_name_prefix="probe") as pool:
        looks: list[Callable[[], Check]] = [partial(_camera, site, camera) for camera in site.cameras]
        names = [f"camera {camera.id}" for camera in site.cameras]
        yield from pool.map(guarded, names, looks)


def _camera(site: Site, camera: Camera) -> Check:
    name = f"camera {camera.id}"
    settings = camera_settings(site, camera)
    try:
        found = probe(settings, _LOOK_S, connector(site.ingest))
    except CameraError as error:
        return Check(name, Health.FAIL, settings.address.redact(f"{error.reason}: {error}"), "")
    except UsageError as error:
        return Check(name, Health.FAIL, settings.address.redact(str(error)), "")
    info = found.info
    rate = f"{found.fps:.1f} fps, first picture after {found.first_picture_s:.1f} s"
    text = f"{info.codec} {info.width}x{info.height}, {rate}"
    if camera.fps and found.fps and found.fps < 0.9 * camera.fps:
        return Check(name, Health.WARN, text, f"it gives fewer frames than the {camera.fps:g} fps that are asked for")
    return Check(name, Health.OK, text)
