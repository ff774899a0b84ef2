"""The tables of docs/config.md, made of the descriptions that the site's models hold.

python -m watchline.pipeline.site.reference docs/config.md
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

from watchline.pipeline.site.schema import json_schema
from watchline.pipeline.site.values import written_size

BEGIN: Final = "<!-- keys: made by `python -m watchline.pipeline.site.reference docs/config.md` -->"
END: Final = "<!-- end of keys -->"
_PARTS: Final = (
    ("Site", ""),
    ("Camera", "cameras[]"),
    ("Tracker", "cameras[].tracker"),
    ("Model", "models.NAME"),
    ("Ingest", "ingest"),
    ("Storage", "storage"),
    ("Retention", "retention"),
    ("Sightings", "sightings"),
    ("Faces", "sightings.faces"),
    ("Http", "http"),
    ("Tls", "http.tls"),
    ("Metrics", "metrics"),
)


def render() -> str:
    """Returns a table for each part of a site."""
    schema = json_schema()
    sections = []
    for name, path in _PARTS:
        part = schema["$defs"][name] if path else schema
        rows = [
            f"| `{key}` | {_values(value, schema)} | {_default(key, value, part, schema)} | {value['description']} |"
            for key, value in sorted(part["properties"].items(), key=lambda item: item[0] not in ("id", "url"))
        ]
        title = f"`{path}`" if path else "The file"
        table = ["| key | value | default | what it is |", "| --- | --- | --- | --- |", *rows]
        sections.append("\n".join([f"### {title}", "", *table]))
    return "\n\n".join(sections)


def renew(text: str) -> str:
    """Returns the page `text` with its tables as they should be."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{render()}\n\n{END}{rest.partition(END)[2]}"


def _values(value: dict[str, Any], schema: dict[str, Any]) -> str:
    options = [option for option in value.get("anyOf", [value]) if option.get("type") != "null"]
    if any(option.get("pattern", "").endswith("B)$") for option in [*options, *options[0].get("anyOf", [])]):
        return "size"
    option = options[0]
    if "$ref" in option:
        option = schema["$defs"][option["$ref"].rpartition("/")[2]]
    if "enum" in option:
        return ", ".join(f"`{item}`" for item in option["enum"])
    names = {"string": "text", "integer": "whole number", "boolean": "true, false", "array": "list", "object": "map"}
    kind = names.get(option["type"], option["type"])
    least, most = option.get("minimum"), option.get("maximum")
    return f"{kind}, {least:g} to {most:g}" if least is not None and most is not None else kind


def _default(key: str, value: dict[str, Any], part: dict[str, Any], schema: dict[str, Any]) -> str:
    if key in part.get("required", ()):
        return "needed"
    if "default" not in value:
        return ""
    is_size = value["default"] is not None and _values(value, schema) == "size"
    return f"`{written_size(value['default']) if is_size else json.dumps(value['default'])}`"


def main(path: Path) -> None:
    """Renews the tables of the page at `path`."""
    path.write_text(renew(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
