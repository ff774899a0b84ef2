"""Part: what the maps of a site's file have in common."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator


class Part(BaseModel):
    """A map of known keys; an empty one takes all defaults, as where all of its keys are comments."""

    model_config = ConfigDict(
        strict=True, frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True, validate_default=False
    )

    @model_validator(mode="before")
    @classmethod
    def _empty_takes_defaults(cls, data: Any) -> Any:
        return {} if data is None else data
