"""The commands of the learning engines: `train` and `compare`."""

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
    CostsOption,
    DtOption,
    JsonOption,
    ResetOption,
    SeedOption,
    TimingOption,
    command_line,
    errors,
    fail,
    print_table,
    print_text,
    writable,
)

if TYPE_CHECKING:
    from .ablations import PricedStep
    from .reports.learn_result import LearnResult
    from .training import Epoch, Progress

NetworkArg = Annotated[
    str,
    typer.Argument(
        metavar="NETWORK",
        help="mnist_mlp, fashion_conv, cifar_conv, alexnet_like, resnet34_like, or a .nir file.",
    ),
]
LearnChip = Annotated[
    str,
    typer.Option("--chip", metavar="PRESET|FILE.yaml", help="h2learn, h2learn_small, or a file."),
]
Batch = Annotated[int | None, typer.Option(metavar="N", help="Samples of a step.")]
Timesteps = Annotated[int | None, typer.Option(metavar="T", help="Timesteps of a sample.")]
NormOption = Annotated[
    str | None,
    typer.Option(metavar="none|batch|frozen", help="Batch normalisation and its statistics."),
]
MicroBatches = Annotated[
    int | None, typer.Option(metavar="N", help="Parts of a batch that overlap on the engines.")
]
GradientDensity = Annotated[
    float | None,
    typer.Option(metavar="0..1", help="Nonzero gradients: .4, or 1 with batch statistics."),
]
MaskDensity = Annotated[
    float, typer.Option(metavar="0..1", help="Neurons inside the surrogate's window.")
]


def train_command(
    network: NetworkArg,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="data.npz", help="`inputs`, `labels`; small zoo networks have theirs."
        ),
    ] = None,
    test: Annotated[
        Path | None,
        typer.Option(metavar="test.npz", help="Samples whose accuracy is told after each epoch."),
    ] = None,
    chip: LearnChip = "h2learn",
    epochs: Annotated[int, typer.Option(metavar="N", help="Passes over the data.")] = 10,
    batch: Batch = None,
    timesteps: Timesteps = None,
    rate: Annotated[float | None, typer.Option("--learning-rate", "--lr", help="Of SGD.")] = None,
    momentum: Annotated[float | None, typer.Option(help="Of SGD.")] = None,
    weight_decay: Annotated[float | None, typer.Option(help="Of SGD.")] = None,
    schedule: Annotated[
        str, typer.Option(metavar="constant|cosine|step:A,B", help="How the learning rate goes.")
    ] = "cosine",
    norm: NormOption = None,
    loss: Annotated[
        str | None, typer.Option(metavar="cross_entropy|mse", help="At the readout.")
    ] = None,
    readout: Annotated[
        str | None, typer.Option(metavar="mean|membrane", help="How logits are read.")
    ] = None,
    micro_batches: MicroBatches = None,
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
    biases: Annotated[
        bool, typer.Option("--biases/--no-biases", help="The RTL carries layers without.")
    ] = True,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="trained.nir", help="Write the network.")
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Written after each epoch, and on Ctrl-C.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint.")] = False,
    threads: Annotated[
        int | None, typer.Option(metavar="N", help="Worker threads; all cores by default.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Price one step instead; needs no data.")
    ] = False,
    program: Annotated[
        Path | None,
        typer.Option(metavar="STEP.learn", help="Write one step for `verify` instead of training."),
    ] = None,
    gradient_density: GradientDensity = None,
    mask_density: MaskDensity = 0.34,
    trace: Annotated[
        Path | None,
        typer.Option(
            metavar="trace.json", help="Write the timeline of the (last) step, for Perfetto."
        ),
    ] = None,
    result: Annotated[
        Path | None,
        typer.Option(metavar="result.json", help="Write time, counts, energy and area."),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="page.html", help="Write the page of the same."),
    ] = None,
    ablations: Annotated[
        bool,
        typer.Option("--ablations", help="With --dry-run: in them, what each idea contributes."),
    ] = False,
    gpu: Annotated[
        bool,
        typer.Option("--gpu", help="With --dry-run: in them, the step beside a modelled V100."),
    ] = False,
    costs: CostsOption = None,
    convention: ConventionOption = "auto",
    reset: ResetOption = None,
    reset_timing: TimingOption = None,
    compare: CompareOption = None,
    dt: DtOption = None,
    seed: SeedOption = 0,
    json: JsonOption = False,
) -> None:
    """Train a network on the simulated learning engines: accuracy, and the chip's time and energy, epoch by epoch.

    Examples: `spikeloom train mnist_mlp --epochs 5 -o trained.nir`;
    `spikeloom train net.nir --convention nir --data digits.npz --checkpoint run.ckpt`, and after a stop the same with
    `--resume`; `spikeloom train resnet34_like --dry-run --result step.json`.
    """
    for path in (out, checkpoint, trace, program, result, report):
        writable(path)
    if (ablations or gpu) and not (dry_run and (result is not None or report is not None)):
        fail("--ablations and --gpu go with --dry-run and --result or --report")
    if report is not None and program is not None:
        fail("--report goes with a training or with --dry-run, not with --program")
    if result is not None and program is not None:
        fail("--result goes with a training or with --dry-run, not with --program")
    if trace is not None and program is not None:
        fail("--trace goes with a training or with --dry-run, not with --program")
    recipe = {
        "batch": batch, "timesteps": timesteps, "learning_rate": rate, "momentum": momentum,
        "weight_decay": weight_decay,
        "loss": loss, "readout": readout, "micro_batches": micro_batches,
    }  # fmt: skip
    reading: dict[str, Any] = {
        "convention": convention, "dt": dt, "reset": reset, "reset_timing": reset_timing, "compare": compare,
        "chip": chip, "norm": norm, "accumulators": accumulators, "recipe": recipe, "seed": seed,
    }  # fmt: skip
    if dry_run:
        _dry_run(
            network, reading, gradient_density, mask_density, trace, result, report, costs=costs, ablations=ablations,
            gpu=gpu, json=json,
        )  # fmt: skip
        return
    from .learn_results import last_step, training_result
    from .learning import compile_step, train
    from .reports.learn_trace import save_step_trace
    from .showing import Table, to_json

    if program is not None:
        with errors.status("compile a step"):
            step = compile_step(
                network,
                data,
                samples=samples,
                keep_weights=keep_weights,
                biases=biases,
                out=program,
                **reading,
            )
        told = {"program": str(program), "tasks": len(step.tasks), "batch": step.batch}
        print_text(
            to_json(told)
            if json
            else f"wrote {program}: {len(step.tasks)} tasks; see `spikeloom verify`"
        )
        return

    with _training_bar() as (progress, after_epoch):
        training = train(
            network, data, test=test, epochs=epochs, schedule=schedule, out=out, checkpoint=checkpoint, resume=resume,
            threads=threads, progress=progress, after_epoch=after_epoch, samples=samples, keep_weights=keep_weights,
            biases=biases, costs=costs, **reading,
        )  # fmt: skip
    if result is not None or report is not None:
        _save(training_result(training, command=command_line()), result, report)
    if trace is not None:
        step, timeline = last_step(training)
        save_step_trace(step, timeline.start, timeline.end, trace)
    if json:
        print_text(to_json(training.to_dict()))
        return
    title = f"{training.network.name} trained on {training.chip.name}"
    print_table(Table(title, _epoch_rows(training.epochs)))
    if out is not None:
        print_text(f"wrote {out}: compile it with --convention nir, and run with --decide membrane")
    if result is not None:
        print_text(f"wrote {result}: see `spikeloom show {result}`")
    if report is not None:
        print_text(f"wrote {report}: open it in a browser")
    if trace is not None:
        print_text(f"wrote {trace}: open it in ui.perfetto.dev")


def _dry_run(
    network: str,
    reading: dict[str, Any],
    gradients: float | None,
    masks: float,
    trace: Path | None,
    result: Path | None,
    report: Path | None,
    *,
    costs: Path | None,
    ablations: bool,
    gpu: bool,
    json: bool,
) -> None:
    from .learn_results import step_result
    from .learning import dry_run
    from .reports.learn_trace import save_step_trace
    from .showing import Table, to_json

    with errors.status("price a step") as status:
        step = dry_run(
            network, gradient_density=gradients, mask_density=masks, costs=costs, **reading
        )
        if result is not None or report is not None:
            told = step_result(
                step,
                with_ablations=ablations,
                with_gpu=gpu,
                progress=lambda what: status.update(f"price a step: {what}"),
                command=command_line(),
            )
            _save(told, result, report)
    if trace is not None:
        save_step_trace(step.program, step.timeline.start, step.timeline.end, trace)
    if json:
        print_text(to_json(_step_dict(step)))
    else:
        print_table(Table(f"one step of {network}, batch {step.program.batch}", _step_rows(step)))
    if trace is not None:
        errors.print(f"wrote {trace}: open it in ui.perfetto.dev", markup=False)
    if result is not None:
        errors.print(f"wrote {result}: see `spikeloom show {result}`", markup=False)
    if report is not None:
        errors.print(f"wrote {report}: open it in a browser", markup=False)


def _save(told: LearnResult, result: Path | None, report: Path | None) -> None:
    """Write a result, its page, or both."""
    from .reports.page import save_page
    from .reports.result import save_result

    if result is not None:
        save_result(told, result)
    if report is not None:
        save_page(told, report)


def _step_dict(step: PricedStep) -> dict[str, Any]:
    counts, energy = step.counts, step.energy
    return {
        "batch": counts.batch,
        "cycles": counts.cycles,
        "seconds": counts.seconds,
        "energy_j": energy.total,
        "energy_by_component_j": energy.by_component,
        "energy_by_layer_j": {name: energy.layer_j(name) for name in energy.by_layer},
        "power_w": energy.power_w,
        "macs": counts.macs,
        "busy_cycles": counts.busy,
        "stall_cycles": counts.stalls,
        "events": [
            {"component": r.component, "layer": r.layer, "event": r.event, "count": r.count}
            for r in counts.rows
        ],
    }


def _step_rows(step: PricedStep) -> tuple[tuple[str, ...], ...]:
    counts, energy = step.counts, step.energy
    rows = [
        ("what", "value"),
        ("cycles", f"{counts.cycles:,}"),
        ("chip time", f"{counts.seconds * 1e3:,.3f} ms"),
        ("energy", f"{energy.total * 1e3:,.3f} mJ, {energy.power_w:,.1f} W with the memory"),
        ("operations if dense", f"{counts.macs / 1e9:,.3f} G multiply-accumulates"),
        ("energy an operation", f"{energy.pj_per_operation:,.3f} pJ"),
    ]
    for name in ("forward", "backward", "update", "vector"):
        waits = counts.stalls.get(name, {})
        cause = max(waits, key=lambda queue: waits[queue], default=None)
        text = f"busy {counts.busy[name] / counts.cycles:.1%}"
        if cause is not None and waits[cause]:
            text += (
                f", waits most for {cause.replace('_', ' ')} ({waits[cause] / counts.cycles:.1%})"
            )
        rows.append((f"{name} engine" if name != "vector" else "vector unit", text))
    rows += [
        (f"energy: {name}", f"{joules * 1e3:,.3f} mJ")
        for name, joules in energy.by_component.items()
    ]
    return tuple(rows)


def compare_command(
    network: NetworkArg,
    chip: LearnChip = "h2learn",
    batch: Batch = None,
    timesteps: Timesteps = None,
    norm: NormOption = None,
    micro_batches: MicroBatches = None,
    spike_density: Annotated[
        float, typer.Option(metavar="0..1", help="Neurons that fire in a timestep.")
    ] = 0.4,
    gradient_density: GradientDensity = None,
    mask_density: MaskDensity = 0.34,
    plots: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write the four plots as SVG.")
    ] = None,
    costs: CostsOption = None,
    seed: SeedOption = 0,
    json: JsonOption = False,
) -> None:
    """Tell what each idea of the learning engines is worth for a network; and the chip beside a modelled V100.

    Tables against adders, the size of the tables' groups, sparsity on one side or both, engines in turn or together.
    Example: `spikeloom compare cifar_conv --norm frozen --plots plots`
    """
    from .ablations import ablation_tables, gpu_table, save_ablation_plots
    from .learning import compare
    from .reports.measured import load_measurements
    from .showing import Table, to_json

    recipe = {"batch": batch, "timesteps": timesteps, "micro_batches": micro_batches}
    with errors.status("compare") as status:
        result, against = compare(
            network, chip=chip, norm=norm, recipe=recipe, spike_density=spike_density,
            gradient_density=gradient_density,
            mask_density=mask_density, costs=costs, seed=seed, progress=lambda what: status.update(f"compare: {what}"),
        )  # fmt: skip
        written = () if plots is None else save_ablation_plots(result, plots)
    tables = {**ablation_tables(result), "beside a modelled V100": gpu_table(against)}
    if json:
        print_text(
            to_json(
                {
                    title: [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]
                    for title, rows in tables.items()
                }
            )
        )
        return
    for title, rows in tables.items():
        print_table(Table(title, rows))
    for m in load_measurements(result.network):
        chip_s = (
            min(row.milliseconds for row in result.overlap) / 1e3 * m.batch / result.recipe.batch
        )
        print_text(
            f"measured: {m.framework} on {m.device}, {m.threads} threads, {m.norm} norm, batch {m.batch}: "
            f"{m.step_s * 1e3:,.1f} ms a step; the chip {m.step_s / chip_s:,.0f} times as fast; simulating it took "
            f"{m.simulated_s * 1e3:,.1f} ms ({m.date})"
        )
    for note in result.notes:
        print_text(note)
    for path in written:
        print_text(f"wrote {path}")


def _epoch_rows(epochs: list[Epoch]) -> tuple[tuple[str, ...], ...]:
    header = (
        "epoch",
        "loss",
        "accuracy",
        "test",
        "cycles a step",
        "chip time",
        "energy",
        "real time",
        "skipped steps",
    )
    return (
        header,
        *(
            (
                str(e.epoch + 1), f"{e.loss:.4f}", f"{e.accuracy:.2%}",
                "" if e.test_accuracy is None else f"{e.test_accuracy:.2%}", f"{e.cycles / e.steps:,.0f}",
                f"{e.simulated_s * 1e3:,.2f} ms", _energy(e.energy_j), f"{e.wall_s:,.1f} s", str(e.skipped_steps),
            )
            for e in epochs
        ),
    )  # fmt: skip


def _energy(joules: float | None) -> str:
    return "unknown" if joules is None else f"{joules * 1e3:,.2f} mJ"


@contextmanager
def _training_bar() -> Iterator[tuple[Any, Any]]:
    """Show steps, loss and accuracy on standard error; where it is no terminal, only a line an epoch."""
    columns = (
        TextColumn("epoch {task.fields[epoch]}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[state]}"),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Bar(*columns, console=errors, disable=not errors.is_terminal) as bar:
        task = bar.add_task("train", total=None, epoch="", state="")

        def progress(at: Progress) -> None:
            state = (
                f"loss {at.loss:.4f}  accuracy {at.accuracy:.2%}  chip {at.simulated_s * 1e3:,.2f} ms  "
                f"{_energy(at.energy_j)}"
            )
            bar.update(
                task,
                total=at.steps,
                completed=at.step,
                epoch=f"{at.epoch + 1}/{at.epochs}",
                state=state,
            )

        def after_epoch(epoch: Epoch) -> None:
            test = "" if epoch.test_accuracy is None else f", test {epoch.test_accuracy:.2%}"
            errors.print(
                f"epoch {epoch.epoch + 1}: loss {epoch.loss:.4f}, accuracy {epoch.accuracy:.2%}{test}, "
                f"chip {epoch.simulated_s * 1e3:,.2f} ms, {_energy(epoch.energy_j)}, here {epoch.wall_s:,.1f} s",
                markup=False,
                soft_wrap=True,
            )

        yield progress, after_epoch
