"""Write the JSON schemas of configuration and results beside this file; `python docs/schema/make.py`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from spikeloom.chip.config import config_schema
from spikeloom.reports.learn_result import learn_result_schema
from spikeloom.reports.result import result_schema


def schemas() -> dict[str, dict[str, Any]]:
    """Return each schema by the name of its file."""
    return {
        "chip.json": config_schema(),
        "learn_result.json": learn_result_schema(),
        "result.json": result_schema(),
    }


def text(schema: dict[str, Any]) -> str:
    """Return a schema as the text of its file."""
    return json.dumps(schema, indent=1) + "\n"


if __name__ == "__main__":
    for name, schema in schemas().items():
        (Path(__file__).parent / name).write_text(text(schema), encoding="utf-8")
