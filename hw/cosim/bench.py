"""Run a host against the Verilog in cocotb, whose AXI4-Stream drivers are not ours: build, start, result."""

from __future__ import annotations

import contextlib
import json
import tempfile
from pathlib import Path
from typing import Any

import cocotb_tools.config
from cocotb_tools.runner import get_runner

from .build import Progress, Recipe, build
from .errors import CosimError

__all__ = ["ORDER_VARIABLE", "run_bench"]

MODEL = "Vtop"  # class of the model, by which cocotb's main knows it
ORDER_VARIABLE = "SPIKELOOM_BENCH"  # environment: the JSON file that says what to run


def run_bench(
    texts: dict[str, str],
    function: str,
    *arguments: Any,
    top: str = "spikeloom_chip",
    pause_rate: float = 0.25,
    seed: int = 0,
    most_cycles: int = 1_000_000,
    progress: Progress | None = None,
) -> Any:
    """Simulate the Verilog under cocotb and Verilator; return what ``function`` returns there.

    Parameters
    ----------
    texts
        What `spikeloom.hw.verilog.emit_chip` returns.
    function
        ``package.module:name`` of ``name(transport, *arguments)``, a plain blocking function, run in the simulator's
        process with a `Transport` of the host's driver.
    arguments
        What JSON can carry, as is the result.
    top
        The module with the ``s_axis_*`` and ``m_axis_*`` ports.
    pause_rate
        Part of the cycles in which the host's side offers no beat, and in which it accepts none.
    seed
        Of the pauses.
    most_cycles
        That an answer may take.
    progress
        Called with a sentence now and then while building.

    Raises
    ------
    ToolError, CosimError
        When it cannot be built, the simulator dies, or ``function`` raises: then with the error's text.
    """
    program = build(texts, top, _recipe(), progress).program
    with tempfile.TemporaryDirectory(prefix="spikeloom-bench-") as name:
        folder = Path(name)
        order, answer, log = folder / "order.json", folder / "answer.json", folder / "log.txt"
        order.write_text(
            json.dumps(
                {
                    "function": function,
                    "arguments": arguments,
                    "pause_rate": pause_rate,
                    "seed": seed,
                    "most_cycles": most_cycles,
                    "answer": str(answer),
                }
            ),
            encoding="utf-8",
        )
        # Of a simulation that fails the runner tells less than the answer, or than its absence and the log.
        with contextlib.suppress(SystemExit, RuntimeError):
            get_runner("verilator").test(
                test_module=f"{__package__}.inside",
                hdl_toplevel=top,
                hdl_toplevel_lang="verilog",
                build_dir=program.parent,
                test_dir=folder,
                results_xml=str(folder / "results.xml"),
                seed=seed,
                extra_env={ORDER_VARIABLE: str(order)},
                log_file=log,
            )
        said = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
        if not answer.is_file():
            raise CosimError(f"the simulation under cocotb gave no answer:\n{said[-3000:]}")
        reply = json.loads(answer.read_text(encoding="utf-8"))
    if "error" in reply:
        raise CosimError(f"{function} under cocotb: {reply['error']}")
    return reply["result"]


def _recipe() -> Recipe:
    main = cocotb_tools.config.share_dir / "lib" / "verilator" / "verilator.cpp"
    libraries = cocotb_tools.config.libs_dir
    # Ports are seen through VPI, the inside is not: else nothing could be optimised.
    options = (
        "--vpi", "--public-depth", "1", "--timing", "-CFLAGS", "-std=c++20 -fcoroutines",
        "-LDFLAGS", f"-Wl,-rpath,{libraries} -L{libraries} -lcocotbvpi_verilator",
    )  # fmt: skip
    return Recipe(main.read_text(encoding="utf-8"), MODEL, options)
