"""The command that trains."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from .console import (
    CompareOption,
    ConventionOption,
    DtOption,
    JsonOption,
    ResetOption,
    SeedOption,
    TimingOption,
    errors,
    print_table,
    print_text,
    writable,
)

if TYPE_CHECKING:
    from .training import Epoch, Progress


def train_command(
    network: Annotated[
        str,
        typer.Argument(
            metavar="NETWORK", help="mnist_mlp, fashion_conv, cifar_conv, ..., or a .nir file."
        ),
    ],
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="data.npz", help="`inputs` and `labels`; zoo networks have their own."
        ),
    ] = None,
    test: Annotated[
        Path | None,
        typer.Option(metavar="test.npz", help="Samples whose accuracy is told after each epoch."),
    ] = None,
    chip: Annotated[
        str,
        typer.Option(
            "--chip", metavar="PRESET|FILE.yaml", help="h2learn, h2learn_small, or a file."
        ),
    ] = "h2learn",
    epochs: Annotated[int, typer.Option(metavar="N", help="Passes over the data.")] = 10,
    batch: Annotated[int | None, typer.Option(metavar="N", help="Samples of a step.")] = None,
    timesteps: Annotated[
        int | None, typer.Option(metavar="T", help="Timesteps of a sample.")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", "--lr", help="Of SGD.")
    ] = None,
    momentum: Annotated[float | None, typer.Option(help="Of SGD.")] = None,
    weight_decay: Annotated[float | None, typer.Option(help="Of SGD.")] = None,
    schedule: Annotated[
        str, typer.Option(metavar="constant|cosine|step:A,B", help="How the learning rate goes.")
    ] = "cosine",
    norm: Annotated[
        str | None,
        typer.Option(metavar="none|batch|frozen", help="Batch normalisation and its statistics."),
    ] = None,
    loss: Annotated[
        str | None, typer.Option(metavar="cross_entropy|mse", help="At the readout.")
    ] = None,
    readout: Annotated[
        str | None, typer.Option(metavar="mean|membrane", help="How logits are read.")
    ] = None,
    micro_batches: Annotated[
        int | None, typer.Option(metavar="N", help="Parts of a batch that overlap on the engines.")
    ] = None,
    accumulators: Annotated[
        str | None, typer.Option(metavar="fp32|fp16|bf16", help="Instead of the chip's.")
    ] = None,
    samples: Annotated[
        int | None, typer.Option(metavar="N", help="Train on the first so many.")
    ] = None,
    keep_weights: Annotated[
        bool,
        typer.Option("--keep-weights", help="Start from the file's weights, not from new ones."),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="trained.nir", help="Write the trained network."),
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Written after each epoch, and on Ctrl-C.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint.")] = False,
    threads: Annotated[
        int | None, typer.Option(metavar="N", help="Worker threads; all cores by default.")
    ] = None,
    convention: ConventionOption = "auto",
    reset: ResetOption = None,
    reset_timing: TimingOption = None,
    compare: CompareOption = None,
    dt: DtOption = None,
    seed: SeedOption = 0,
    json: JsonOption = False,
) -> None:
    """Train a network on the simulated learning engines: accuracy, and the chip's time, epoch by epoch.

    Examples: `spikeloom train mnist_mlp --epochs 5 -o trained.nir`;
    `spikeloom train net.nir --convention nir --data digits.npz --checkpoint run.ckpt`, and after a stop the same with
    `--resume`.
    """
    from .learning import train
    from .showing import Table, to_json

    for path in (out, checkpoint):
        writable(path)
    recipe = {
        "batch": batch, "timesteps": timesteps, "learning_rate": learning_rate, "momentum": momentum,
        "weight_decay": weight_decay, "loss": loss, "readout": readout, "micro_batches": micro_batches,
    }  # fmt: skip
    with _training_bar() as (progress, after_epoch):
        training = train(
            network, data, test=test, chip=chip, epochs=epochs, schedule=schedule, seed=seed, out=out, checkpoint=checkpoint,
            resume=resume, threads=threads, progress=progress, after_epoch=after_epoch, norm=norm, accumulators=accumulators,
            samples=samples, keep_weights=keep_weights, convention=convention, dt=dt, reset=reset, reset_timing=reset_timing,
            compare=compare, recipe=recipe,
        )  # fmt: skip
    if json:
        print_text(to_json(training.to_dict()))
    else:
        print_table(
            Table(
                f"{training.network.name} trained on {training.chip.name}", _rows(training.epochs)
            )
        )
        if out is not None:
            print_text(
                f"wrote {out}: compile it with --convention nir, and run with --decide membrane"
            )


def _rows(epochs: list[Epoch]) -> tuple[tuple[str, ...], ...]:
    header = (
        "epoch",
        "loss",
        "accuracy",
        "test",
        "cycles a step",
        "chip time",
        "real time",
        "skipped steps",
    )
    return (
        header,
        *(
            (
                str(e.epoch), f"{e.loss:.4f}", f"{e.accuracy:.2%}",
                "" if e.test_accuracy is None else f"{e.test_accuracy:.2%}", f"{e.cycles / e.steps:,.0f}",
                f"{e.simulated_s * 1e3:,.2f} ms", f"{e.wall_s:,.1f} s", str(e.skipped_steps),
            )
            for e in epochs
        ),
    )  # fmt: skip


@contextmanager
def _training_bar() -> Iterator[tuple[Any, Any]]:
    """Show steps, loss and accuracy on standard error; on no terminal a line an epoch."""
    columns = (
        TextColumn("epoch {task.fields[epoch]}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]}  accuracy {task.fields[accuracy]}  chip {task.fields[chip]}"),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Bar(*columns, console=errors, disable=not errors.is_terminal) as bar:
        task = bar.add_task("train", total=None, epoch="", loss="", accuracy="", chip="")

        def progress(state: Progress) -> None:
            bar.update(
                task, total=state.steps, completed=state.step, epoch=f"{state.epoch + 1}/{state.epochs}",
                loss=f"{state.loss:.4f}", accuracy=f"{state.accuracy:.2%}", chip=f"{state.simulated_s * 1e3:,.2f} ms",
            )  # fmt: skip

        def after_epoch(epoch: Epoch) -> None:
            test = "" if epoch.test_accuracy is None else f", test {epoch.test_accuracy:.2%}"
            errors.print(
                f"epoch {epoch.epoch + 1}: loss {epoch.loss:.4f}, accuracy {epoch.accuracy:.2%}{test}, "
                f"chip {epoch.simulated_s * 1e3:,.2f} ms, here {epoch.wall_s:,.1f} s",
                markup=False,
            )

        yield progress, after_epoch
