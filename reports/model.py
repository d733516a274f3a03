"""The base of all tables and results: frozen, no unknown fields, no number that is none."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class ReportModel(BaseModel):
    """A pydantic model that cannot be changed, refuses fields that it does not know, and infinities and NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
