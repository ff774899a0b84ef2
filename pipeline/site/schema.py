"""The JSON Schema of a site's file, by which editors complete and check it."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from watchline.pipeline.site.site import Site


class _Untitled(GenerateJsonSchema):
    """Keys are named well enough; titles made of them say nothing."""

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002  # the same for all
        return False


def json_schema() -> dict[str, Any]:
    """Returns the schema (draft 2020-12)."""
    schema = Site.model_json_schema(mode="validation", schema_generator=_Untitled)
    schema["required"] = ["cameras"]
    schema["properties"]["cameras"]["minItems"] = 1
    schema["properties"]["cameras"].pop("default", None)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A site of watchline",
        **{key: value for key, value in schema.items() if key != "title"},
    }
