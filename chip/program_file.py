"""The program file: one zip with a JSON manifest and raw arrays; versioned, checked, never a pickle."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from .config import ChipConfig, ConfigError, config_from_dict
from .program import (
    PROGRAM_ARRAYS,
    InputInfo,
    LayerInfo,
    ManyCoreProgram,
    ProgramError,
    check_program,
    weight_dtype,
)

FORMAT = "spikeloom-many-core-program"
VERSION = 1
_MANIFEST = "manifest.json"
_MANIFEST_LIMIT = 64 << 20
_ARRAY_LIMIT = 4 << 30


def save_program(program: ManyCoreProgram, path: str | Path) -> None:
    """Write ``program`` to ``path`` at once: a temporary file beside it is renamed when it is complete.

    The same program gives the same bytes. Raises OSError if the folder cannot be written.
    """
    check_program(program)
    path = Path(path)
    arrays, blobs = {}, {}
    for name, dtype in PROGRAM_ARRAYS.items():
        array = np.ascontiguousarray(getattr(program, name), dtype=dtype)
        blobs[name] = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
        arrays[name] = {
            "dtype": array.dtype.name,
            "shape": list(array.shape),
            "sha256": hashlib.sha256(blobs[name]).hexdigest(),
        }
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "config_hash": program.config.config_hash,
        "config": program.config.to_dict(),
        "arrays": arrays,
        "inputs": [asdict(item) for item in program.inputs],
        "layers": [asdict(item) for item in program.layers],
        "outputs": list(program.outputs),
        "steps_per_timestep": program.steps_per_timestep,
        "meta": program.meta,
    }
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            _write_member(archive, _MANIFEST, json.dumps(manifest, indent=1).encode())
            for name, blob in blobs.items():
                _write_member(archive, f"{name}.bin", blob)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _write_member(archive: zipfile.ZipFile, name: str, blob: bytes) -> None:
    info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    info.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(info, blob, compresslevel=1)


def load_program(path: str | Path, config: ChipConfig | None = None) -> ManyCoreProgram:
    """Read and check a program file.

    Parameters
    ----------
    path
        File written by `save_program`.
    config
        If given, the chip that is to run it: a program for another configuration is refused.

    Raises
    ------
    ProgramError
        If the file is missing, truncated, altered, of another version or for another chip.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = _read_manifest(archive, path)
            program = _assemble(archive, path, manifest)
    except FileNotFoundError:
        raise ProgramError(f"{path} does not exist; make it with `spikeloom compile`") from None
    except IsADirectoryError:
        raise ProgramError(f"{path} is a folder, not a program file") from None
    except (zipfile.BadZipFile, EOFError, OSError, json.JSONDecodeError, UnicodeDecodeError, NotImplementedError,
            RuntimeError, RecursionError, zlib.error) as error:  # fmt: skip
        raise ProgramError(
            f"{path} is not a whole program file ({error}); make it again with `spikeloom compile`"
        ) from None
    except (KeyError, TypeError, AttributeError, IndexError, OverflowError) as error:
        raise ProgramError(f"{path} has a malformed manifest ({error!r})") from None
    if config is not None and config.config_hash != program.config.config_hash:
        raise ProgramError(
            f"{path} was compiled for chip {program.config.name!r} ({program.config.config_hash}), not for "
            f"{config.name!r} ({config.config_hash}); compile the network for this chip"
        )
    return program


def _claimed(archive: zipfile.ZipFile, path: Path, name: str) -> int:
    try:
        return archive.getinfo(name).file_size
    except KeyError:
        raise ProgramError(f"{path} holds no {name}: it is not a program file") from None


def _read_manifest(archive: zipfile.ZipFile, path: Path) -> Any:
    size = _claimed(archive, path, _MANIFEST)
    if size > _MANIFEST_LIMIT:
        raise ProgramError(f"{path}: its manifest claims {size} bytes, more than {_MANIFEST_LIMIT}")
    with archive.open(_MANIFEST) as stream:
        return json.loads(stream.read(_MANIFEST_LIMIT))


def _read_into(archive: zipfile.ZipFile, path: Path, name: str, buffer: memoryview) -> None:
    """Fill ``buffer`` from a member of just that size; never reads more, whatever the member inflates to."""
    if _claimed(archive, path, name) != len(buffer):
        raise ProgramError(f"{path}: {name} does not have the size that its shape asks for")
    done = 0
    with archive.open(name) as stream:
        while done < len(buffer):
            chunk = stream.read(min(1 << 24, len(buffer) - done))
            if not chunk:
                raise ProgramError(f"{path}: {name} is shorter than it claims")
            buffer[done : done + len(chunk)] = chunk
            done += len(chunk)


def _assemble(archive: zipfile.ZipFile, path: Path, manifest: dict[str, Any]) -> ManyCoreProgram:
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ProgramError(f"{path} is not a many-core program of spikeloom")
    if manifest.get("version") != VERSION:
        raise ProgramError(
            f"{path} has format version {manifest.get('version')!r}, this spikeloom reads {VERSION}; "
            "compile the network again"
        )
    try:
        config = config_from_dict(manifest["config"], where=f"{path}: config")
    except ConfigError as error:
        raise ProgramError(str(error)) from None
    if config.config_hash != manifest["config_hash"]:
        raise ProgramError(
            f"{path} was altered: its configuration does not have the hash that it states"
        )
    arrays: dict[str, Any] = {}
    for name, dtype in PROGRAM_ARRAYS.items():
        entry = manifest["arrays"][name]
        wanted = np.dtype(dtype or weight_dtype(config.many_core.core.weight_bits))
        shape = tuple(int(n) for n in entry["shape"])
        if entry["dtype"] != wanted.name or len(shape) > 3 or any(n < 0 for n in shape):
            raise ProgramError(
                f"{path}: {name} must be of {wanted.name}, not {entry['dtype']!r} {shape}"
            )
        size = wanted.itemsize
        for n in shape:
            size *= n
        if size > _ARRAY_LIMIT:
            raise ProgramError(f"{path}: {name} of {size} bytes is too large")
        array = np.empty(shape, dtype=wanted.newbyteorder("<"))
        raw = memoryview(array.reshape(-1).view(np.uint8).data)
        _read_into(archive, path, f"{name}.bin", raw)
        if hashlib.sha256(raw).hexdigest() != entry["sha256"]:
            raise ProgramError(f"{path} was altered or damaged: {name} does not match its checksum")
        arrays[name] = array.astype(wanted, copy=False)
    program = ManyCoreProgram(
        config=config,
        **arrays,
        inputs=tuple(
            InputInfo(
                str(item["name"]), _ints(item["shape"]), float(item["scale"]), bool(item["signed"]),
                int(item["max_payload"]),
            )
            for item in manifest["inputs"]
        ),
        layers=tuple(
            LayerInfo(
                str(item["name"]), str(item["kind"]), _ints(item["shape"]), bool(item["spiking"]), int(item["depth"]),
                _ints(item["cores"]), _ints(item["partial_cores"]), dict(item["notes"]),
            )
            for item in manifest["layers"]
        ),
        outputs=tuple(str(name) for name in manifest["outputs"]),
        steps_per_timestep=int(manifest["steps_per_timestep"]),
        meta=dict(manifest["meta"]),
    )  # fmt: skip
    check_program(program)
    return program


def _ints(values: Any) -> tuple[int, ...]:
    return tuple(int(value) for value in values)
