"""What a changed site means for one that runs: which cameras come, go, start anew, or go on with new settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from pydantic import BaseModel

from watchline.pipeline.site.settings import camera_settings
from watchline.pipeline.site.site import Site
from watchline.streams.camera_settings import CameraSettings

_IN_PLACE: Final = ("weight", "classes", "ignore", "sightings")
ONLY_AT_START: Final = ("site", "ingest", "storage", "sightings", "http", "metrics")
_WORDS: Final = {
    "url": "address",
    "fps": "frame rate",
    "ignore": "regions to ignore",
    "sightings": "keeping of sightings",
    "tls_verify": "check of certificates",
    "tls_authorities": "trusted certificates",
}


@dataclass(frozen=True, slots=True)
class Changes:
    """What a reload does. Cameras are in the order of the new site, removed ones in that of the old.

    Attributes:
        added: ids of cameras to add.
        removed: ids of cameras to remove.
        restarted: ids of cameras to remove and add again; their track ids go on.
        in_place: ids of cameras that go on, with another weight, other classes or regions, their sightings kept or not.
        models: names of models to open anew before cameras use them: new ones and changed ones.
        models_removed: names of models that no camera uses any more.
        retention: new bounds for stored results apply.
        needs_restart: keys that changed and that only a restart of the service applies, such as "http.listen".
        sentences: all of it in words, one a line of the log; no secrets.
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    restarted: tuple[str, ...] = ()
    in_place: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    models_removed: tuple[str, ...] = ()
    retention: bool = False
    needs_restart: tuple[str, ...] = ()
    sentences: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.sentences)


def changes(
    old: Site,
    new: Site,
    running: Mapping[str, CameraSettings] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Changes:
    """Returns what becomes of a service that runs `old` and is told `new`.

    Args:
        old: what runs.
        new: what is to run.
        running: what ingest was told of each camera that runs, by its id. A secret that its file or variable holds may
            have changed while the site's file did not: with this it is noticed.
        environment: where ${NAME} is looked up for that.

    Raises:
        UsageError: a secret is missing; `load_site` says so before.
    """
    before, after = {c.id: c for c in old.cameras}, {c.id: c for c in new.cameras}
    models = tuple(name for name, model in new.models.items() if old.models.get(name) != model)
    models_removed = tuple(name for name in old.models if name not in new.models)
    sentences = [f"camera {name}: removed" for name in before if name not in after]
    restarted, in_place = [], []
    for name, camera in after.items():
        if name not in before:
            sentences.append(f"camera {name}: added")
            continue
        keys = _changed(before[name], camera)
        why = [*(_WORDS.get(key, key) for key in keys if key not in (*_IN_PLACE, "model"))]
        if old.model_of(before[name]) != new.model_of(camera):
            why.append("model")
        if not why and running and name in running:
            now = camera_settings(new, camera, environment)
            if replace(running[name], weight=now.weight) != now:
                why.append("password or another secret")
        mild = [_WORDS.get(key, key) for key in keys if key in _IN_PLACE]
        if why:
            restarted.append(name)
            sentences.append(f"camera {name}: its {_and([*why, *mild])} changed; it reconnects")
        elif mild:
            in_place.append(name)
            sentences.append(f"camera {name}: its {_and(mild)} changed; it goes on")
    needs_restart = tuple(_keys(old, new))
    retention = old.retention != new.retention
    sentences += _of_models(old, new, models, models_removed)
    sentences += [f"retention: its {_and(_changed(old.retention, new.retention))} changed"] if retention else []
    sentences += [f"{key}: changed; only a restart of the service applies it" for key in needs_restart]
    return Changes(
        tuple(name for name in after if name not in before),
        tuple(name for name in before if name not in after),
        tuple(restarted),
        tuple(in_place),
        models,
        models_removed,
        retention,
        needs_restart,
        tuple(sentences),
    )


def _of_models(old: Site, new: Site, opened: Iterable[str], removed: Iterable[str]) -> list[str]:
    sentences = [f"model {name}: removed" for name in removed]
    for name in opened:
        if name in old.models:
            what = _and(_changed(old.models[name], new.models[name]))
            sentences.append(f"model {name}: its {what} changed; its workers start anew")
        else:
            sentences.append(f"model {name}: added")
    return sentences


def _keys(old: Site, new: Site) -> Iterable[str]:
    for key in ONLY_AT_START:
        before, after = getattr(old, key), getattr(new, key)
        if isinstance(before, BaseModel) and isinstance(after, BaseModel):
            yield from (f"{key}.{name}" for name in _changed(before, after))
        elif before != after:
            yield key


def _changed(old: BaseModel, new: BaseModel) -> list[str]:
    return [key for key in type(new).model_fields if getattr(old, key) != getattr(new, key)]


def _and(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
