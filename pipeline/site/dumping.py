"""A site as YAML, with everything that its file left out."""

from __future__ import annotations

from typing import Any

import yaml  # type: ignore[import-untyped]

from watchline.pipeline.site.document import plain_value
from watchline.pipeline.site.references import hidden
from watchline.pipeline.site.site import Site
from watchline.streams.errors import UsageError
from watchline.streams.redact import HIDDEN, redact


def dump(site: Site) -> str:
    """Returns YAML that is read as the same site; for files, not for eyes, as it holds what passwords the file held."""
    return _yaml(_ordered(site))


def show(site: Site) -> str:
    """Returns YAML for eyes: what names a secret stays, as ${NAME}, and a secret that stood in the file is ***."""
    data = _ordered(site)
    for camera in [*data["cameras"], data["defaults"]]:
        camera["pipeline"] = redact(camera["pipeline"])
        if "url" in camera:
            camera["url"] = _shown(camera["url"])
    return _yaml(data)


def yaml_text(text: str) -> str:
    """Returns `text` as YAML has it, in one line; quoted where some reader might not take it for text.

    >>> yaml_text("dock-2"), yaml_text("007"), yaml_text("a: b")
    ('dock-2', '"007"', "'a: b'")
    """
    return _yaml({"": text}).partition(": ")[2].rstrip("\n")


def _ordered(site: Site) -> dict[str, Any]:
    data = site.model_dump(mode="json")
    for camera in data["cameras"]:  # id and address first, as people write it
        rest = {key: camera.pop(key) for key in list(camera) if key not in ("id", "url")}
        camera |= rest
    return data


def _shown(url: str) -> str:
    try:
        return hidden(url)
    except UsageError:
        return HIDDEN


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]  # PyYAML has no types
    """Writes no aliases, and quotes whatever some reader of YAML might not take for text."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002  # never one
        return True


def _text(dumper: Any, text: str) -> Any:
    try:
        plain = isinstance(plain_value(text), str)
    except ValueError:
        plain = False
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else '"')


_Dumper.add_representer(str, _text)


def _yaml(data: object) -> str:
    written: str = yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10_000)
    return written
