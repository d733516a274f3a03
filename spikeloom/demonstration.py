"""`demo`: the shipped networks on real digits, compiled, run and reported, in one command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .compiling import compile_nir
from .models.datasets import load_mnist
from .models.zoo import ZOO, load_zoo_samples, path
from .reports.figures import mesh_picture
from .reports.page import save_page
from .reports.result import RunResult, save_result
from .running import run

CHIP = "tianjic"


def demo(
    folder: str | Path = "demo",
    *,
    network: str = "mnist_mlp",
    samples: int = 1000,
    threads: int | None = None,
    tell: Callable[[str], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> RunResult:
    """Compile a shipped network for `tianjic`, run digits that it was not trained on, write page and result.

    Writes ``NAME.chip``, ``result.json``, ``page.html`` and ``mesh.svg`` into ``folder``.

    Raises
    ------
    ValueError
        If there is no such network.
    """
    item = ZOO.get(network)
    if item is None:
        raise ValueError(f"there is no shipped network {network!r}; choose one of {', '.join(ZOO)}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    say = tell or (lambda _line: None)
    training = load_mnist("train").inputs[:128].reshape(-1, *item.input_shape)
    say(f"compile {item.file} for {CHIP}")
    compilation = compile_nir(
        path(network), CHIP, convention="nir", calibrate={"inputs": training}, timesteps=item.timesteps,
        encode=item.encoder
    )  # fmt: skip
    compilation.save(folder / f"{network}.chip")
    digits = load_zoo_samples(network, samples)
    say(f"run {len(digits.inputs)} digits, {item.timesteps} timesteps each, every cycle")
    result = run(
        compilation.program,
        {"inputs": digits.inputs, "labels": digits.labels},
        timesteps=item.timesteps,
        encode=item.encoder,
        threads=threads,
        progress=progress,
        command=f"spikeloom demo --network {network} --samples {samples}",
    )
    save_result(result, folder / "result.json")
    save_page(result, folder / "page.html")
    mesh_picture(result, folder / "mesh.svg")
    return result
