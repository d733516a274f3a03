"""Program files: one zip with a JSON manifest and raw arrays; versioned, checked, never a pickle."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .config import ChipConfig, ConfigError, config_from_dict

__all__ = ["Archive", "ArchiveKind", "read_archive", "write_archive"]

_MANIFEST = "manifest.json"
_MANIFEST_LIMIT = 64 << 20
_ARRAY_LIMIT = 4 << 30

Read = TypeVar("Read")


class ArchiveKind:
    """A kind of program file.

    Parameters
    ----------
    form, version
        What its manifest says.
    name
        In messages: "a many-core program".
    again
        The command that makes such a file.
    error
        What is raised for a file that is wrong.
    """

    def __init__(
        self, form: str, version: int, name: str, again: str, error: type[ValueError]
    ) -> None:
        self.form, self.version, self.name, self.again, self.error = (
            form,
            version,
            name,
            again,
            error,
        )


def write_archive(
    path: str | Path,
    kind: ArchiveKind,
    config: ChipConfig,
    arrays: Mapping[str, NDArray[Any]],
    fields: dict[str, Any],
) -> None:
    """Write to ``path`` at once: a temporary file beside it is renamed when it is complete.

    The same content gives the same bytes. Raises OSError if the folder cannot be written.
    """
    path = Path(path)
    described, blobs = {}, {}
    for name, given in arrays.items():
        array = np.ascontiguousarray(given)
        blobs[name] = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
        described[name] = {
            "dtype": array.dtype.name,
            "shape": list(array.shape),
            "sha256": hashlib.sha256(blobs[name]).hexdigest(),
        }
    manifest = {
        "format": kind.form,
        "version": kind.version,
        "config_hash": config.config_hash,
        "config": config.to_dict(),
        "arrays": described,
        **fields,
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


class Archive:
    """A program file that is open: its manifest, its configuration, and arrays as they are asked for."""

    def __init__(self, archive: zipfile.ZipFile, path: Path, kind: ArchiveKind) -> None:
        self._archive, self._path, self._kind = archive, path, kind
        size = self._claimed(_MANIFEST)
        if size > _MANIFEST_LIMIT:
            raise kind.error(
                f"{path}: its manifest claims {size} bytes, more than {_MANIFEST_LIMIT}"
            )
        with archive.open(_MANIFEST) as stream:
            self.manifest: dict[str, Any] = json.loads(stream.read(_MANIFEST_LIMIT))
        if not isinstance(self.manifest, dict) or self.manifest.get("format") != kind.form:
            raise kind.error(f"{path} is not {kind.name} of spikeloom")
        if self.manifest.get("version") != kind.version:
            raise kind.error(
                f"{path} has format version {self.manifest.get('version')!r}, this spikeloom reads {kind.version}; "
                "compile the network again"
            )
        try:
            self.config = config_from_dict(self.manifest["config"], where=f"{path}: config")
        except ConfigError as error:
            raise kind.error(str(error)) from None
        if self.config.config_hash != self.manifest["config_hash"]:
            raise kind.error(
                f"{path} was altered: its configuration does not have the hash that it states"
            )

    def array(self, name: str, dtype: DTypeLike, most_axes: int = 3) -> NDArray[Any]:
        """Return an array, which must be of ``dtype`` and match its checksum."""
        path, error = self._path, self._kind.error
        entry = self.manifest["arrays"][name]
        wanted = np.dtype(dtype)
        shape = tuple(int(n) for n in entry["shape"])
        if entry["dtype"] != wanted.name or len(shape) > most_axes or any(n < 0 for n in shape):
            raise error(f"{path}: {name} must be of {wanted.name}, not {entry['dtype']!r} {shape}")
        size = wanted.itemsize
        for n in shape:
            size *= n
        if size > _ARRAY_LIMIT:
            raise error(f"{path}: {name} of {size} bytes is too large")
        array = np.empty(shape, dtype=wanted.newbyteorder("<"))
        raw = memoryview(array.reshape(-1).view(np.uint8).data)
        self._read_into(f"{name}.bin", raw)
        if hashlib.sha256(raw).hexdigest() != entry["sha256"]:
            raise error(f"{path} was altered or damaged: {name} does not match its checksum")
        return array.astype(wanted, copy=False)

    def _claimed(self, name: str) -> int:
        try:
            return self._archive.getinfo(name).file_size
        except KeyError:
            raise self._kind.error(
                f"{self._path} holds no {name}: it is not a program file"
            ) from None

    def _read_into(self, name: str, buffer: memoryview) -> None:
        """Fill ``buffer`` from a member of just that size; never reads more, whatever the member inflates to."""
        error = self._kind.error
        if self._claimed(name) != len(buffer):
            raise error(f"{self._path}: {name} does not have the size that its shape asks for")
        done = 0
        with self._archive.open(name) as stream:
            while done < len(buffer):
                chunk = stream.read(min(1 << 24, len(buffer) - done))
                if not chunk:
                    raise error(f"{self._path}: {name} is shorter than it claims")
                buffer[done : done + len(chunk)] = chunk
                done += len(chunk)


def read_archive(
    path: str | Path, kind: ArchiveKind, assemble: Callable[[Archive], Read], config: ChipConfig | None
) -> Read:  # fmt: skip
    """Open a file, and return what ``assemble`` makes of it.

    Raises
    ------
    the kind's error
        If the file is missing, truncated, altered, of another version, or for another chip than ``config``.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as file:
            archive = Archive(file, path, kind)
            made = assemble(archive)
    except FileNotFoundError:
        raise kind.error(f"{path} does not exist; make it with `{kind.again}`") from None
    except IsADirectoryError:
        raise kind.error(f"{path} is a folder, not a program file") from None
    except (zipfile.BadZipFile, EOFError, OSError, json.JSONDecodeError, UnicodeDecodeError, NotImplementedError,
            RuntimeError, RecursionError, zlib.error) as error:  # fmt: skip
        raise kind.error(
            f"{path} is not a whole program file ({error}); make it again with `{kind.again}`"
        ) from None
    except (KeyError, TypeError, AttributeError, IndexError, OverflowError) as error:
        raise kind.error(f"{path} has a malformed manifest ({error!r})") from None
    if config is not None and config.config_hash != archive.config.config_hash:
        raise kind.error(
            f"{path} was compiled for chip {archive.config.name!r} ({archive.config.config_hash}), not for "
            f"{config.name!r} ({config.config_hash}); compile the network for this chip"
        )
    return made
