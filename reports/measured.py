"""Training steps that were measured on real machines: one JSON file each in reports/measured/, used where present."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import Field, ValidationError

from .model import ReportModel
from .result import write_whole

MEASURED_FOLDER = Path(__file__).resolve().parent / "measured"


class Measurement(ReportModel):
    """The median time of a training step of a network in a framework on a machine, and how it was come by.

    ``simulated_s`` is the time that the simulation of the same step took in the same run, in turns with it.
    """

    network: str
    norm: str
    batch: int = Field(ge=1)
    timesteps: int = Field(ge=1)
    framework: str
    device: str
    threads: int = Field(ge=1)
    step_s: float = Field(gt=0)
    simulated_s: float = Field(gt=0)
    repeats: int = Field(ge=1)
    date: str
    command: str

    def save(self, folder: Path = MEASURED_FOLDER) -> Path:
        """Write the measurement under the names of device, network and norm; returns the file."""
        folder.mkdir(parents=True, exist_ok=True)
        name = "-".join([self.device, self.network, self.norm]).lower()
        path = folder / ("".join(c if c.isalnum() or c in "-_" else "_" for c in name) + ".json")
        write_whole(path, self.model_dump_json(indent=1) + "\n")
        return path


def load_measurements(
    network: str | None = None, folder: Path = MEASURED_FOLDER
) -> tuple[Measurement, ...]:
    """Return the measurements of a network, or all, in the order of their files' names.

    Raises
    ------
    ValueError
        Naming a file that is none.
    """
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            item = Measurement.model_validate(json.loads(path.read_text(encoding="utf-8")))
        except (ValidationError, ValueError) as error:
            raise ValueError(f"{path} is no measurement: {' '.join(str(error).split())}") from None
        if network in (None, item.network):
            found.append(item)
    return tuple(found)
