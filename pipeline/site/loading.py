"""Reads a site's file: all that is wrong with it at once, each with its line and column."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import ValidationError

from watchline.pipeline.site.checking import problems_on_this_machine, warnings_of
from watchline.pipeline.site.document import MOST_BYTES, Data, Document, decode, read_document, too_big
from watchline.pipeline.site.kept import Faces
from watchline.pipeline.site.problems import Path as KeyPath
from watchline.pipeline.site.problems import Place, Problem, SiteError, written
from watchline.pipeline.site.references import absolute
from watchline.pipeline.site.sentences import problems_of, unknown
from watchline.pipeline.site.site import MOST_CAMERAS, Camera, Site


def load_site(path: Path, environment: Mapping[str, str] | None = None) -> Site:
    """Returns the site that a file says, ready to be used on this machine.

    Secrets are looked up to see that they are there, and are not kept.

    Args:
        path: of the file; paths in it are relative to its folder.
        environment: where ${NAME} is looked up; by default that of this process.

    Raises:
        SiteError: the file cannot be used; one line a problem.
    """
    site, document = _read(path)
    problems = list(problems_on_this_machine(site, document, os.environ if environment is None else environment))
    if problems:
        raise SiteError(str(path), problems)
    site._warnings = warnings_of(site, path)  # noqa: SLF001  # they are no part of the file, nor of its schema
    return site


def read_site(path: Path) -> Site:
    """Returns the site that a file says; neither secrets nor the files that it names need be there.

    Raises:
        SiteError: the file cannot be used anywhere; one line a problem.
    """
    return _read(path)[0]


def parse_site(text: str, name: str, folder: Path) -> Site:
    """Returns the site that a text says.

    Args:
        text: YAML.
        name: of the file, for messages.
        folder: to which paths are relative.

    Raises:
        SiteError: it cannot be used anywhere; one line a problem.
    """
    return _site(read_document(text, name), folder)


def _read(path: Path) -> tuple[Site, Document]:
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        problem = Problem(Place(1, 1), "", f"cannot be read ({reason}); `watchline config init` writes a first one")
        raise SiteError(str(path), [problem]) from error
    if len(content) > MOST_BYTES:
        raise too_big(str(path))
    document = read_document(decode(content, str(path)), str(path))
    return _site(document, path.absolute().parent), document


def _site(document: Document, folder: Path) -> Site:
    if not isinstance(document.data, dict):
        what = "the file is empty" if document.data is None else "want a map: lines of KEY: VALUE"
        mend = "`watchline config example` prints a whole one"
        raise SiteError(document.name, [Problem(document.place(()), "", f"{what}; {mend}")])
    cameras = document.data.get("cameras")
    if isinstance(cameras, list) and len(cameras) > MOST_CAMERAS:
        message = f"{len(cameras)} cameras; a site has {MOST_CAMERAS} at most"
        raise SiteError(document.name, [Problem(document.place(("cameras",)), "cameras", message)])
    try:
        site = Site.model_validate(document.data)
    except ValidationError as error:
        raise SiteError(document.name, problems_of(error.errors(include_url=False), document)) from None
    problems = list(_across(site, document))
    if problems:
        raise SiteError(document.name, problems)
    return _anchored(site, folder)


def _across(site: Site, document: Document) -> Iterator[Problem]:
    """Yields what is wrong between parts that are right by themselves."""

    def problem(path: KeyPath, message: str) -> Problem:
        return Problem(document.place(path), written(path), message)

    if not site.cameras:
        yield problem(("cameras",), "no camera; a site has one or more (to watch none, stop the service)")
    if not site.models:
        yield problem(("models",), "no model; name one, or take the key away: it is yolov8n then")
    first: dict[str, int] = {}
    told: set[KeyPath] = set()
    for index, camera in enumerate(site.cameras):
        at: KeyPath = ("cameras", index)
        if camera.id in first:
            line = document.place(("cameras", first[camera.id], "id")).line
            yield problem((*at, "id"), f'"{camera.id}" is the id of another camera, in line {line}; ids are unique')
        first.setdefault(camera.id, index)
        for key, message in _of_camera(site, camera):
            path = _said_at(document.data, index, key)
            if path not in told:
                told.add(path)
                yield problem(path, message)


def _said_at(data: Data, index: int, key: str) -> KeyPath:
    """Returns where a camera has `key` from: its own map, or `defaults`."""
    assert isinstance(data, dict)  # it was a site
    cameras, defaults = data.get("cameras"), data.get("defaults")
    own = cameras[index] if isinstance(cameras, list) else None
    inherits = isinstance(own, dict) and key not in own and isinstance(defaults, dict) and key in defaults
    return ("defaults", key) if inherits else ("cameras", index, key)


def _of_camera(site: Site, camera: Camera) -> Iterator[tuple[str, str]]:
    names = tuple(site.models)
    if camera.model and camera.model not in names:
        yield "model", f"there is no such model in `models`; {unknown(camera.model, names)}"
    if not camera.model and len(names) > 1:
        yield "model", f"there are {len(names)} models; say which: {', '.join(names)}"
    if camera.pipeline and not site.ingest.allow_custom_pipelines:
        yield (
            "pipeline",
            "may do all that this service may do; set ingest.allow_custom_pipelines: true, or take it away",
        )


def _anchored(site: Site, folder: Path) -> Site:
    """Returns the site with absolute paths."""
    storage = site.storage.model_copy(
        update={"path": folder / site.storage.path, "models": site.storage.models and folder / site.storage.models}
    )
    tls = site.http.tls and site.http.tls.model_copy(
        update={"certificate": folder / site.http.tls.certificate, "key": folder / site.http.tls.key}
    )
    http = site.http.model_copy(
        update={"tls": tls, "token_file": site.http.token_file and folder / site.http.token_file}
    )
    models = {
        name: model.model_copy(update={"model": _model_file(model.model, folder)})
        for name, model in site.models.items()
    }
    cameras = tuple(
        camera.model_copy(
            update={
                "url": absolute(camera.url, folder),
                "tls_authorities": camera.tls_authorities and folder / camera.tls_authorities,
            }
        )
        for camera in site.cameras
    )
    sightings = site.sightings and site.sightings.model_copy(
        update={
            "path": site.sightings.path and folder / site.sightings.path,
            "model": _model_file(site.sightings.model, folder),
            "faces": _faces(site.sightings.faces, folder),
        }
    )
    authorities = site.defaults.tls_authorities
    defaults = site.defaults.model_copy(update={"tls_authorities": authorities and folder / authorities})
    return site.model_copy(
        update={
            "storage": storage,
            "sightings": sightings,
            "http": http,
            "models": models,
            "cameras": cameras,
            "defaults": defaults,
        }
    )


def _faces(faces: Faces | None, folder: Path) -> Faces | None:
    return faces and faces.model_copy(
        update={"detector": _model_file(faces.detector, folder), "model": _model_file(faces.model, folder)}
    )


def _model_file(name: str, folder: Path) -> str:
    """Returns a model's name, or its file's absolute path; names of the catalog have neither dot nor folder."""
    return str(folder / name) if "." in name or "/" in name else name
