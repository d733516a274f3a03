"""The base of all configuration models: frozen, strict, no unknown fields."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class FrozenModel(BaseModel):
    """A pydantic model that cannot be changed, converts nothing silently and refuses fields that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
