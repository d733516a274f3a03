"""The floor plan: rectangles that fill their box and are to scale, for chips of either half and of both."""

from __future__ import annotations

from math import fsum
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikeloom.chip.config import load_config
from spikeloom.reports.area_summary import area_summary
from spikeloom.reports.floor_plan import Box, floor_plan_svg, treemap

from .test_cli import run

SVG = "{http://www.w3.org/2000/svg}"
CHIPS = ("tiny", "tianjic", "mesh32", "h2learn", "fusion_tiny")
SIDE = 460.0


def drawn(name):
    area, _ = area_summary(load_config(name))
    assert area is not None
    return area, ElementTree.fromstring(floor_plan_svg(area))


@given(
    st.lists(st.floats(0, 1e3), min_size=1, max_size=20).filter(lambda sizes: sum(sizes) > 1e-3),
    st.floats(1, 1000),
    st.floats(1, 1000),
)
def test_a_treemap_fills_its_box_in_proportion(sizes, width, height):
    box = Box(3.0, 5.0, width, height)
    found = treemap(sizes, box)
    assert len(found) == len(sizes)
    scale = box.area / fsum(sizes)
    for size, own in zip(sizes, found, strict=True):
        assert own.area == pytest.approx(size * scale, rel=1e-6, abs=box.area * 1e-9)
        assert own.x >= box.x - 1e-6
        assert own.y >= box.y - 1e-6
        assert own.x + own.width <= box.x + width + 1e-6 * width
        assert own.y + own.height <= box.y + height + 1e-6 * height
    for i, one in enumerate(found):
        for other in found[:i]:
            wide = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
            high = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
            assert min(wide, high) < 1e-6 * max(width, height)


def test_a_treemap_of_nothing_has_no_area():
    assert [own.area for own in treemap([0.0, 0.0], Box(0, 0, 1, 1))] == [0.0, 0.0]


@pytest.mark.parametrize("name", CHIPS)
def test_rectangles_are_to_scale_and_add_up_to_the_chip(name):
    area, root = drawn(name)
    sized = [rect for rect in root.iter(f"{SVG}rect") if "data-mm2" in rect.attrib]
    left = [rect for rect in sized if float(rect.attrib["x"]) < SIDE + 1]
    assert fsum(float(rect.attrib["data-mm2"]) for rect in left) == pytest.approx(area.area_mm2)
    core = area.place_mm2("core") + area.place_mm2("router") if area.cores else 0.0
    right = [rect for rect in sized if rect not in left]
    assert fsum(float(rect.attrib["data-mm2"]) for rect in right) == pytest.approx(core)
    for rects, mm2 in ((left, area.area_mm2), (right, core)):
        for rect in rects:
            units = float(rect.attrib["width"]) * float(rect.attrib["height"])
            share = float(rect.attrib["data-mm2"]) / mm2
            assert units / SIDE**2 == pytest.approx(share, abs=2e-5)


@pytest.mark.parametrize("name", CHIPS)
def test_the_picture_names_its_parts_and_says_that_it_is_no_layout(name):
    area, root = drawn(name)
    text = " ".join(element.text or "" for element in root.iter() if element.text)
    assert "is not a layout" in text
    assert f"at {area.node_nm} nm" in text
    for component in area.by_component:
        assert component in text
    assert "mm²" in text
    assert len(ElementTree.tostring(root)) < 40_000


def test_names_are_escaped():
    area, _ = area_summary(load_config("h2learn"))
    assert area is not None
    odd = area.rows[0].model_copy(update={"component": "<script>&"})
    rows = [odd, *area.rows[1:]]
    sums = dict.fromkeys((row.component for row in rows), 0.0)
    for row in rows:
        sums[row.component] += row.area_mm2
    fields = area.model_dump() | {"rows": [row.model_dump() for row in rows], "by_component": sums}
    text = floor_plan_svg(type(area).model_validate(fields))
    assert "<script>" not in text
    ElementTree.fromstring(text)


# ------------------------------------------------------------------------------------------------------------- command


def test_area_without_synthesis_draws_the_floor_plan(capsys, tmp_path):
    plot, out = tmp_path / "plan.svg", tmp_path / "area.json"
    code, text, err = run(capsys, "area", "--chip", "tianjic", "--quick", "--plot", plot, "-o", out)
    assert code == 0, err
    assert f"wrote {plot}" in text
    assert "stored synthesis" in text
    assert ElementTree.parse(plot).getroot().tag == f"{SVG}svg"
    assert '"basis": "synthesis"' in out.read_text()
    code, text, _ = run(capsys, "area", "--chip", "h2learn", "--quick", "--json")
    assert code == 0
    assert '"basis": "units"' in text


def test_bad_input_of_area_is_a_sentence(capsys, tmp_path):
    old = tmp_path / "old.yaml"
    old.write_text(load_config("tiny").replace(chip={"node_nm": 180}).to_yaml())
    cases = [
        (("--chip", old, "--quick"), "The area is unknown"),
        (("--chip", "tiny", "--quick", "--plot", tmp_path / "no" / "x.svg"), "the folder"),
        (("--chip", "tiny", "--quick", "--report", tmp_path / "x.html"), "was synthesised as a whole"),
        (("--chip", "nothing", "--quick"), "nothing"),
    ]  # fmt: skip
    for arguments, words in cases:
        code, _, err = run(capsys, "area", *arguments)
        assert code == 2
        assert words in err
    assert [path.name for path in tmp_path.iterdir()] == ["old.yaml"]
