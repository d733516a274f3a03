"""`report`: a saved result as page, tables and figures; for both kinds of result."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

import spikeloom
from spikeloom.errors import InputError
from spikeloom.reports.export import data_tables, write_csv
from spikeloom.reports.page import render_page
from spikeloom.reports.result import save_result
from tests.support.command import run_command
from tests.support.learn_result_builder import make_step, make_training
from tests.support.result_builder import make_result

RESULT = make_result()


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_tables_of_a_run_add_up(tmp_path):
    written = {path.stem: read(path) for path in write_csv(RESULT, tmp_path / "tables")}
    assert set(written) >= {
        "summary", "samples", "energy_rows", "energy_by_unit", "energy_by_layer", "layers", "cores", "routers",
        "timesteps", "edges", "roofline",
    }  # fmt: skip
    total = RESULT.energy_j["total"]
    assert sum(float(row["energy, J a sample"]) for row in written["energy_rows"]) == pytest.approx(
        total
    )
    assert sum(
        float(row["energy, J a sample"]) for row in written["energy_by_layer"]
    ) == pytest.approx(total)
    units = written["energy_by_unit"]
    both = ("dynamic energy, J a sample", "static energy, J a sample")
    assert sum(float(row[name]) for row in units for name in both) == pytest.approx(total)
    assert len(written["samples"]) == RESULT.samples
    assert float(written["samples"][3]["latency, s"]) == pytest.approx(
        (RESULT.sample_cycles or [])[3] / RESULT.clock_hz
    )
    synops = sum(float(row["synops, a sample"]) for row in written["cores"]) * RESULT.samples
    assert synops == pytest.approx(RESULT.synops)
    hops = sum(
        float(v) for row in written["routers"] for k, v in row.items() if k.startswith("hops")
    )
    assert hops * RESULT.samples == pytest.approx(RESULT.hops)
    summary = {row["figure"]: row for row in written["summary"]}
    assert float(summary["energy a sample"]["value"]) == total
    assert summary["energy a sample"]["unit"] == "J"
    assert summary["area"]["value"] == ""  # unknown, not zero


def test_the_tables_of_a_training_add_up(tmp_path):
    result = make_training()
    written = {path.stem: read(path) for path in write_csv(result, tmp_path)}
    assert result.energy_j is not None
    assert sum(int(row["cycles"]) for row in written["epochs"]) == result.cycles
    energy = sum(float(row["energy, J of the run"]) for row in written["energy_by_layer"])
    assert energy == pytest.approx(result.energy_j["total"])
    assert len(written["tasks"]) == len(result.tasks.queue)
    assert max(int(row["end, cycle"]) for row in written["tasks"]) == result.tasks.cycles
    assert sum(float(row["area, mm2"]) for row in written["area"]) == pytest.approx(
        float(next(r["value"] for r in written["summary"] if r["figure"] == "area"))
    )
    assert "gpu" not in written


def test_a_step_has_its_ablations_and_its_gpu():
    tables = {table.name: table for table in data_tables(make_step())}
    assert tables["ablation_1"].columns == ("order", "micro_batches", "milliseconds")
    assert tables["ablation_1"].rows[0] == ("one after the other", 1, 59.625)
    assert tables["gpu"].rows[0][0] == "V100 fp32"
    assert "epochs" not in tables


def test_every_table_has_rows_as_wide_as_its_heading():
    for result in (RESULT, make_step(), make_training()):
        for table in data_tables(result):
            assert {len(row) for row in table.rows} == {len(table.columns)}, table.name


def test_report_writes_page_tables_and_figures(tmp_path, capsys):
    save_result(RESULT, tmp_path / "result.json")
    done = run_command(
        capsys, "report", tmp_path / "result.json", "-o", tmp_path / "page.html", "--csv", tmp_path / "csv", "--plots",
        tmp_path / "plots", "--format", "png", "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert told["page"] == str(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == render_page(RESULT)
    assert sorted(told["tables"]) == sorted(map(str, (tmp_path / "csv").iterdir()))
    names = {Path(path).stem for path in told["plots"]}
    assert names == {
        "latency", "energy", "energy_by_unit", "mesh", "traffic", "roofline_1", "roofline_2", "roofline_3",
    }  # fmt: skip
    for path in told["plots"]:
        assert Path(path).read_bytes().startswith(b"\x89PNG")


def test_figures_of_a_training(tmp_path):
    written = spikeloom.report(make_training(), plots=tmp_path).plots
    names = {path.stem for path in written}
    assert names >= {"training", "engines", "timeline", "energy", "area", "roofline_forward"}
    before = (tmp_path / "engines.svg").read_bytes()
    bare = {"configuration": None, "chip": "mine", "area": None, "epochs": []}
    again = spikeloom.report(make_training().model_copy(update=bare), plots=tmp_path).plots
    assert {path.stem for path in again} == {"engines", "timeline", "energy"}
    assert (tmp_path / "engines.svg").read_bytes() == before


def test_report_of_what_is_no_result(tmp_path, capsys):
    (tmp_path / "page.html").write_text("earlier")
    (tmp_path / "result.json").write_text("{}")
    out = ("-o", tmp_path / "page.html")
    for arguments, message in (
        ((tmp_path / "none.json", *out), "none.json is no readable JSON result"),
        ((tmp_path / "result.json", *out), "does not say its schema_version"),
        ((tmp_path / "result.json", "-o", tmp_path / "none" / "page.html"), "none does not exist"),
        ((tmp_path / "result.json", "--csv", tmp_path / "none" / "csv"), "none does not exist"),
        ((tmp_path / "result.json",), "nothing to write: give a page"),
        (
            (tmp_path / "result.json", *out, "--format", "gif"),
            "format must be one of svg, png, pdf",
        ),
    ):
        done = run_command(capsys, "report", *arguments)
        assert done.code == 2
        assert message in " ".join(done.err.split())
        assert done.out == ""
    assert (tmp_path / "page.html").read_text() == "earlier"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page.html", "result.json"]


def test_report_needs_something_to_write():
    with pytest.raises(InputError, match="nothing to write"):
        spikeloom.report(RESULT)


def test_a_folder_that_is_a_file(tmp_path, capsys):
    save_result(RESULT, tmp_path / "result.json")
    (tmp_path / "csv").write_text("a file")
    done = run_command(capsys, "report", tmp_path / "result.json", "--csv", tmp_path / "csv")
    assert done.code == 2
    assert "csv" in done.err
    assert (tmp_path / "csv").read_text() == "a file"


def test_train_writes_its_page(tmp_path, capsys):
    page = tmp_path / "step.html"
    done = run_command(
        capsys, "train", "mnist_mlp", "--dry-run", "--batch", "8", "--norm", "none", "--report", page
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "mnist_mlp priced on h2learn" in page.read_text(encoding="utf-8")
    assert "open it in a browser" in " ".join(done.err.split())
    done = run_command(
        capsys, "train", "mnist_mlp", "--program", tmp_path / "a.learn", "--report", page
    )
    assert done.code == 2
    assert "--report goes with a training" in done.err
