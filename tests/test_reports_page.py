"""The page and the picture: whole, self-contained, with every figure, and safe for any name."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest

from spikeloom.chip.config import load_config
from spikeloom.reports.figures import draw_mesh, mesh_picture
from spikeloom.reports.mesh_map import cells, frames, heat_step, router_totals
from spikeloom.reports.page import render_page, save_page
from spikeloom.reports.units import count, interval, share, si
from tests.support.learn_result_builder import make_step, make_training
from tests.support.result_builder import make_result

VOID = {"meta", "input", "br", "link", "img", "hr"}
EVIL = "<script>alert('1')</script>&\"x\" {{ 7 * 7 }}"


class Page(HTMLParser):
    """Checks that elements are closed in order; keeps text, attributes and the content of scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.scripts: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag == "script":
            self.scripts.append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] == ["script"]:
            self.scripts[-1] += data
        elif self.open[-1:] != ["style"]:
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split()).replace("\u00a0", " ")


RESULT = make_result()
HTML = render_page(RESULT)
STEP = make_step()
LEARN_HTML = render_page(STEP)
PAGE = Page(HTML)


def test_the_page_is_whole():
    assert HTML.lstrip().startswith("<!DOCTYPE html>")
    for tag in ("html", "head", "body", "h1", "style"):
        assert PAGE.tags.count(tag) == 1
    # Confusion, latency, three rooflines, three maps, traffic, graph.
    assert PAGE.tags.count("svg") == 10
    ids = [value for name, value in PAGE.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert sum(str(value).startswith("core-") for value in ids) == 40
    traffic = [number for number, flits in enumerate(router_totals(RESULT)) if flits]
    assert {f"router-{number}" for number in traffic} == {v for v in ids if str(v)[:7] == "router-"}


def test_the_page_asks_nobody_for_anything():
    for html in (HTML, LEARN_HTML):
        page = Page(html)
        text = html.replace('xmlns="http://www.w3.org/2000/svg"', "")
        assert "http://" not in text
        assert "https://" not in text
        assert not {"link", "img", "iframe"} & set(page.tags)
        assert not {"src", "onclick"} & {name for name, _ in page.attributes}
        ids = {value for name, value in page.attributes if name == "id"}
        links = [str(value) for name, value in page.attributes if name == "href"]
        assert links
        assert {link.removeprefix("#") for link in links} <= ids
        assert all(link.startswith("#") for link in links)
        assert "default-src 'none'" in html


def test_the_page_has_every_figure():
    words = PAGE.words
    assert "digits on tianjic" in words
    assert share(RESULT.accuracy or 0).replace("\u00a0", " ") in words
    for figure in (
        si(RESULT.latency_s.median, "s"),
        si(RESULT.energy_j["total"], "J"),
        si((RESULT.pj_per_synop or 0) * 1e-12, "J"),
        count(RESULT.cycles_per_sample.max),
        f"{count(RESULT.throughput_per_s)} /s",
        "31.8 %",
        "39.5 %",
        "3,218 flit hops a network timestep, estimated",
        "subtract, next timestep",
        RESULT.config_hash,
        "0123456789abcdef",
        "weights are per neuron scaled to 8 bits",
        "unknown",
        si(RESULT.average_power_w, "W"),
    ):
        assert figure.replace("\u00a0", " ") in words, figure
    happened = [row for row in RESULT.energy_rows if row.count]
    none = len(RESULT.energy_rows) - len(happened)
    assert f"{none} of {len(RESULT.energy_rows)} kinds of events did not happen" in words
    for row in happened:
        assert row.event in words
        assert (
            si(row.cost_j, "W" if row.event == "seconds" else "J").replace("\u00a0", " ") in words
        )
        assert si(row.energy_j, "J").replace("\u00a0", " ") in words
        assert row.status in words
        for source in row.source.split(" | "):
            assert " ".join(source.split()) in words
    for layer in RESULT.layers:
        assert layer.name in words
        assert si(layer.energy_j, "J").replace("\u00a0", " ") in words


def test_average_power_is_energy_over_time():
    seconds = 1 / RESULT.throughput_per_s
    power = si(RESULT.energy_j["total"] / seconds, "W").replace("\u00a0", " ")
    assert f"power assumed {power} average;" in PAGE.words
    assert "The host was injecting in 31.8 % of the cycles" in PAGE.words


@pytest.mark.parametrize("loss", ["weight_error", "membrane_error", "output_mismatch"])
def test_a_loss_that_was_not_measured_is_unknown_and_not_zero(loss):
    for there in (True, False):  # as null, or not mentioned for one of the layers
        layers = [layer.model_dump() for layer in RESULT.layers]
        for layer in layers:
            layer["notes"] = {"weight_bits": 8, loss: 0.0123}
        layers[1]["notes"] = {"weight_bits": 8, loss: None} if there else {"weight_bits": 8}
        html = render_page(make_result(layers=layers))
        table = html[html.index("What quantisation lost") :]
        cells = re.findall(r'<td class="n">([^<]*)</td>', table[: table.index("</table>")])
        assert [cell.replace("\u00a0", " ") for cell in cells] == [
            "8", "1.23 %", "8", "unknown", "8", "1.23 %", "8", "1.23 %"
        ]  # fmt: skip


def test_an_unknown_pj_a_synop_is_not_zero():
    words = Page(render_page(make_result("tiny", cores=2, layer_names=("a",), synops=0))).words
    assert "energy a synaptic operation unknown no synaptic operations" in words


def test_columns_and_rows_are_not_mixed_up():
    config = load_config("tiny").replace(network={"columns": 2, "rows": 3})
    result = make_result(config, cores=6, layer_names=("a", "b"))
    html = render_page(result)
    page = Page(html)
    for core in result.counters["cores"]:
        assert f"core ({core['x']}, {core['y']}): {core['layer']}" in html
    assert html.count(">core (1, 2)") == 3  # layer, activity, graph
    assert "core (2, 1)" not in html
    data = json.loads(page.scripts[0])
    assert {len(row) for row in data["routers"]} == {6}
    router = result.counters["routers"][-1]
    hops = sum(n for name, n in router.items() if name.startswith("hops_")) / result.samples
    assert f"router ({router['x']}, {router['y']}): {count(hops)}<" in html
    made = {cell.core: (cell.x, cell.y) for cell in cells(result)}
    assert made == {i: (c["x"], c["y"]) for i, c in enumerate(result.counters["cores"])}


def test_names_cannot_become_markup():
    evil = make_result(
        "tiny", cores=3, network=EVIL, layer_names=(EVIL, "b"), notes=[EVIL], convention={EVIL: EVIL},
        provenance={EVIL: EVIL}, placement={EVIL: EVIL}
    )  # fmt: skip
    page = Page(render_page(evil))
    assert page.tags.count("script") == 2
    assert not any("alert" in script for script in page.scripts)
    assert page.words.count(EVIL) >= 8
    assert "49" not in page.words.split()[:3]


@pytest.mark.parametrize(("chip", "cores"), [("tianjic", 156), ("mesh32", 1024)])
def test_a_long_run_on_a_large_mesh_stays_light(chip, cores):
    html = render_page(make_result(chip, cores=cores, chip_timesteps=100, samples=1000))
    assert len(html.encode()) < 1_000_000
    Page(html)


def test_a_very_long_run_puts_timesteps_together():
    result = make_result(cores=150, chip_timesteps=3000, samples=3)
    made = frames(result)
    assert len(made.steps) < 300
    assert made.steps[0].startswith("0 to ")
    assert made.steps[-1].endswith("2999")
    total = sum(sum(row) for row in result.steps["router_flits"]) / 3
    assert sum(made.traffic) == pytest.approx(total, rel=1e-2)
    assert len(render_page(result).encode()) < 1_000_000


def test_the_slider_has_a_frame_for_every_timestep():
    assert "<" not in PAGE.scripts[0]  # so that no </script> can end it
    data = json.loads(PAGE.scripts[0])
    assert data["steps"] == [str(step) for step in range(12)]
    assert HTML.count('class="time frame"') == 12
    assert len(data["cores"]) == len(data["routers"]) == 12
    assert {len(row) for row in data["routers"]} == {156}
    assert {len(row) for row in data["cores"]} == {40}
    exact = [n / 200 for n in RESULT.steps["router_flits"][3]]
    assert data["routers"][3] == pytest.approx(exact, rel=1e-3)
    assert data["totals"]["routers"] == pytest.approx(router_totals(RESULT), rel=1e-3)
    assert sum(router_totals(RESULT)) == pytest.approx(RESULT.hops / 200)


def test_a_page_without_labels_histogram_or_notes():
    result = make_result(
        "tiny", cores=2, layer_names=("a", "b"), accuracy=None, labels=None, sample_cycles=None, notes=[],
        placement={}, convention={}, synops=0
    )  # fmt: skip
    words = Page(render_page(result)).words
    assert "the data has no labels" in words
    assert "no synaptic operations" in words
    assert "clock cycles a sample" not in words
    assert "does not say how its cores were placed" in words
    same = make_result("tiny", cores=2, layer_names=("a",), samples=3, sample_cycles=[70, 70, 70])
    assert "Every sample takes" in Page(render_page(same)).words


def test_the_histogram_counts_every_sample():
    counts = re.findall(r"cycles: (\d+) samples", HTML)
    assert sum(map(int, counts)) == 200


def test_save_page(tmp_path):
    save_page(RESULT, tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == HTML
    assert len(list(tmp_path.iterdir())) == 1


def test_pictures(tmp_path):
    for name, start in (("mesh.svg", b"<?xml"), ("mesh.png", b"\x89PNG")):
        mesh_picture(RESULT, tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(start)
    before = (tmp_path / "mesh.svg").read_bytes()
    mesh_picture(RESULT, tmp_path / "mesh.svg")
    assert (tmp_path / "mesh.svg").read_bytes() == before
    with pytest.raises(ValueError, match=r"must end in \.svg, \.png, \.pdf, not 'mesh\.txt'"):
        mesh_picture(RESULT, tmp_path / "mesh.txt")


def test_the_picture_says_what_ran_and_fits(tmp_path):
    figure = draw_mesh(make_result(network="net $x$", accuracy=None, labels=None))
    title = figure.get_suptitle().replace("\u00a0", " ")
    for words in (
        "net $x$ on tianjic",
        "accuracy unknown",
        si(RESULT.energy_j["total"], "J"),
        " a sample",
    ):
        assert words.replace("\u00a0", " ") in title
    legend = figure.axes[0].get_legend()
    assert legend is not None
    names = [text.get_text() for text in legend.get_texts()]
    assert names == ["1 conv1", "2 conv2", "3 fc1", "4 out"]
    mesh_picture(make_result(network="net $x^", layer_names=("$", "b")), tmp_path / "mesh.svg")
    for shape in ({"columns": 2, "rows": 3}, {"columns": 4, "rows": 1}, {"columns": 1, "rows": 4}):
        config = load_config("tiny").replace(network=shape)
        figure = draw_mesh(make_result(config, cores=3, layer_names=tuple("abcdefg")))
        figure.draw_without_rendering()
        box, page = figure.get_tightbbox(), figure.get_size_inches()
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= page[0]
        assert box.y1 <= page[1]


def test_heat_steps():
    assert heat_step(0, 10) is None
    assert heat_step(5, 0) is None
    assert heat_step(0.01, 10) == 0
    assert heat_step(10, 10) == 14


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 J"), (1.54e-12, "1.54 pJ"), (9.9999e-7, "1.00 µJ"), (0.00123, "1.23 mJ"), (12.34, "12.3 J"),
        (999.7, "1.00 kJ"), (123.4, "123 J"), (3e-17, "0.03 fJ"), (-2e-9, "-2.00 nJ"),
    ],
)  # fmt: skip
def test_si(value, text):
    assert si(value, "J").replace("\u00a0", " ") == text


def test_counts_shares_and_intervals():
    assert [count(v) for v in (0, 7.0, 7.25, 12345.6, 0.5)] == ["0", "7", "7.25", "12,346", "0.5"]
    assert [share(v).replace("\u00a0", " ") for v in (0.5, 0.0123, 1)] == [
        "50.0 %",
        "1.23 %",
        "100.0 %",
    ]
    low, high = interval(0.98, 1000)
    assert 0.968 < low < 0.98 < high < 0.988
    assert interval(1.0, 10)[1] == pytest.approx(1.0)
    assert interval(0.0, 10)[0] == pytest.approx(0.0)


def test_the_page_of_a_step_has_every_figure():
    words = Page(LEARN_HTML).words
    assert "mnist_mlp priced on h2learn" in words
    assert "nothing was trained" in words
    assert STEP.energy_j is not None
    assert STEP.area is not None
    assert STEP.per_step.energy_j is not None
    for figure in (
        si(STEP.per_step.seconds, "s"), si(STEP.per_sample.seconds, "s"), si(STEP.per_step.energy_j, "J"),
        f"{STEP.area.area_mm2:.3g} mm²", "Floor plan", "V100 fp32", "engines in turn or together", "59.6",
        f"{len(STEP.tasks.queue)} tasks of one step",
        STEP.config_hash, "learning rate",
    ):  # fmt: skip
        assert figure.replace("\u00a0", " ") in words, figure
    for row in STEP.energy_rows:
        if row.count:
            assert si(row.energy_j, "J").replace("\u00a0", " ") in words
            assert row.unit in words
    for layer in STEP.tasks.layers:
        assert layer in words


def test_the_page_of_a_training_has_its_epochs():
    result = make_training()
    words = Page(render_page(result)).words
    assert "mnist_mlp trained on h2learn" in words
    for epoch in result.epochs:
        for figure in (f"{epoch.loss:.4f}", share(epoch.accuracy), si(epoch.seconds, "s")):
            assert figure.replace("\u00a0", " ") in words, figure
    assert result.accuracy is not None
    assert f"accuracy counted {share(result.accuracy)}".replace("\u00a0", " ") in words
    assert "Beside a GPU" not in words
    assert "Ablations" not in words


def test_energy_and_area_that_are_unknown_are_not_zero():
    unknown = {
        "energy_j": None, "energy_rows": [], "energy_by_layer": {}, "energy_shared_j": {}, "energy_by_unit_j": {},
        "power_w": None, "area": None,
    }  # fmt: skip
    figures = {
        name: getattr(STEP, name).model_copy(update={"energy_j": None})
        for name in ("per_sample", "per_step")
    }
    words = Page(render_page(STEP.model_copy(update={**unknown, **figures}))).words
    assert "energy unknown there are no costs" in words
    assert "area unknown" in words
    assert "0 J" not in words


def test_a_page_without_the_configuration_says_that_ceilings_are_unknown():
    bare = RESULT.model_copy(update={"configuration": None, "chip": "mine"})
    words = Page(render_page(bare)).words
    assert "does not keep the configuration of its chip" in words


def test_names_of_layers_cannot_become_markup():
    step = STEP.model_copy(
        update={"tasks": STEP.tasks.model_copy(update={"layers": [EVIL, "b"]}), "network": EVIL}
    )
    page = Page(render_page(step))
    assert "script" not in page.tags
    assert page.words.count(EVIL) >= 4


def test_neurobench_stands_beside_what_the_chip_counts():
    metrics = {
        "footprint_bytes": 4096, "chip_footprint_bytes": 1024, "connection_sparsity": None,
        "chip_connection_sparsity": 0.25, "activation_sparsity": 0.9, "chip_synops": 5000.0,
        "synaptic_operations": {"dense": None, "effective_macs": 0.0, "effective_acs": 1234.0},
        "notes": ["made up"],
    }  # fmt: skip
    words = Page(render_page(make_result(neurobench=metrics))).words
    for figure in (
        "footprint 4,096 bytes 1,024 bytes", "connection sparsity unknown 25.0 %", "activation sparsity 90.0 %",
        "effective accumulates 1,234 a sample", "both together 1,234 a sample 5,000 a sample", "made up.",
    ):  # fmt: skip
        assert figure in words, figure
    assert "NeuroBench" not in PAGE.words


def test_a_result_without_a_graph_has_no_graph():
    html = render_page(make_result(graph=[]))
    assert 'id="network"' not in html
    assert "#network" not in html
