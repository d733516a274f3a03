"""The documents: links lead somewhere, and the numbers in them are those of the code."""

from __future__ import annotations

import ast
import json
import re
import runpy
import tomllib
from pathlib import Path

import pytest

import spikeloom
from spikeloom.chip.config import SOMA_STAGES, config_schema, load_config
from spikeloom.chip.events import CHIP_EVENTS, CORE_EVENTS, ROUTER_EVENTS
from spikeloom.chip.packet import FlitLayout
from spikeloom.chip.program import CORE_REGISTERS, NEURON_MEMORIES
from spikeloom.reports.learn_result import learn_result_schema
from spikeloom.reports.result import result_schema

from .support.presets import MANY_CORE_PRESETS

TOP = Path(__file__).resolve().parent.parent
FOLDERS = ("chip", "models", "compiler", "sim", "hw", "reports")
DOCUMENTS = sorted([*TOP.glob("*.md"), *(TOP / "docs").rglob("*.md")])
MODULES = sorted(
    [
        *(TOP / "spikeloom").glob("*.py"),
        *(TOP / "spikeloom/calibrating").glob("*.py"),
        *(p for f in FOLDERS for p in (TOP / f).rglob("*.py")),
    ]
)
BLOCKS = ("axon", "dendrite", "soma", "sender", "router", "host", "barrier")


def name_of(path: Path) -> str:
    return str(path.relative_to(TOP))


def block(name: str) -> str:
    return (TOP / "docs" / "blocks" / f"{name}.md").read_text(encoding="utf-8")


def architecture() -> str:
    return (TOP / "docs" / "architecture.md").read_text(encoding="utf-8")


def rows(text: str, pattern: str) -> list[tuple[str, ...]]:
    found = re.findall(rf"^\| *{pattern} *\|$", text, flags=re.MULTILINE)
    assert found, f"no table row of the form {pattern}"
    return found


def headings(path: Path) -> set[str]:
    lines = re.findall(r"^#+ +(.*)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).strip().replace(" ", "-") for line in lines}


def without_code(text: str) -> str:
    return re.sub(r"`[^`]*`", "", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_links_lead_somewhere(path):
    text = without_code(path.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://")):
            continue
        place, _, anchor = target.partition("#")
        linked = path.parent / place if place else path
        assert linked.exists(), f"{name_of(path)} links to {target}"
        assert TOP in linked.resolve().parents, f"{target} leaves the repository"
        if anchor:
            assert anchor in headings(linked), f"{name_of(path)} links to {target}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_documents_are_whole(path):
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# ") or path.name == "README.md"
    assert len(re.findall(r"^ *```", text, flags=re.MULTILINE)) % 2 == 0, (
        "a code block is not closed"
    )
    assert not re.search(r"^(<<<<<<<|=======|>>>>>>>)", text, flags=re.MULTILINE)


def test_files_that_documents_name_exist():
    named = set()
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        named |= set(
            re.findall(rf"`((?:{'|'.join(FOLDERS)}|tests|docs|spikeloom)/[\w/]+\.(?:py|md))`", text)
        )
    assert len(named) > 10
    assert [name for name in sorted(named) if not (TOP / name).exists()] == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_say_what_they_are_for(path):
    doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert doc, f"{name_of(path)} has no docstring"
    assert doc.splitlines()[0].rstrip().endswith("."), doc.splitlines()[0]


def test_every_folder_has_modules():
    assert {path.relative_to(TOP).parts[0] for path in MODULES} >= {
        "chip",
        "compiler",
        "sim",
        "models",
    }


def test_compute_cycles_of_the_documents():
    chip = load_config("tianjic").many_core
    stated = {
        int(active): int(cycles)
        for active, cycles in rows(architecture(), r"(\d+) *\| *[^|]+\| *(\d+)")
    }
    assert stated == {0: 268, 26: 459, 64: 1067, 256: 4139}
    for active, cycles in stated.items():
        assert chip.compute_cycles(active, 256, 8) == cycles


def test_tree_latencies_of_the_documents():
    stated = rows(architecture(), r"`(\w+)` *" + r"\| *(\d+) *" * 6)
    assert sorted(row[0] for row in stated) == sorted(MANY_CORE_PRESETS)
    for name, *numbers in stated:
        chip = load_config(name).many_core
        assert [int(number) for number in numbers] == [
            chip.core_count,
            chip.tree_stages,
            chip.host_start_cycles,
            chip.start_cycles,
            chip.barrier_cycles,
            chip.sample_reset_cycles,
        ]


def test_timestep_example_of_the_documents():
    chip = load_config("tianjic").many_core
    parts = (chip.start_cycles, chip.compute_cycles(0, 256, 8), chip.barrier_cycles)
    assert f"{' + '.join(map(str, parts))} = {sum(parts)} cycles" in architecture()


def test_soma_stages_of_the_documents():
    for text in (architecture(), block("soma")):
        assert f"SOMA_STAGES = {SOMA_STAGES}" in text
    assert f"{SOMA_STAGES - 1} cycles later" in block("soma")


def test_send_latency_of_the_documents():
    assert f"send_latency_cycles = {load_config('tiny').many_core.send_latency_cycles}" in block(
        "sender"
    )


def test_flit_of_the_documents():
    layout = FlitLayout.of(load_config("tianjic").many_core)
    stated = rows(block("router"), r"`(\w+)` *\| *(\d+) *\|[^|]*")
    assert [(name, int(bits)) for name, bits in stated] == list(layout.fields)


def test_every_event_register_and_memory_is_documented():
    text = "".join(block(name) for name in BLOCKS) + (TOP / "docs/glossary.md").read_text(
        encoding="utf-8"
    )
    known = [event.name for event in (*CORE_EVENTS, *ROUTER_EVENTS, *CHIP_EVENTS)]
    known += [name for name, _, _ in CORE_REGISTERS if name not in ("x", "y")] + list(
        NEURON_MEMORIES
    )
    missing = [name for name in known if f"`{name}`" not in text and name != "updates"]
    assert missing == []


def test_changelog_has_the_version():
    project = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert f"## [{project['version']}]" in (TOP / "CHANGELOG.md").read_text(encoding="utf-8")


def test_documents_name_no_places_of_a_machine():
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"(?<![\w.])/(?:work|root|home|tmp)/", text), name_of(path)


@pytest.mark.parametrize(
    ("name", "schema"),
    [
        ("chip", config_schema()),
        ("learn_result", learn_result_schema()),
        ("result", result_schema()),
    ],
)
def test_published_schemas_are_those_of_the_code(name, schema):
    stored = json.loads((TOP / f"docs/schema/{name}.json").read_text(encoding="utf-8"))
    assert stored == schema, "run python docs/schema/make.py"


def test_the_reference_is_that_of_the_docstrings():
    pages = runpy.run_path(str(TOP / "docs/reference/make.py"))["pages"]()
    stored = {
        path.name: path.read_text(encoding="utf-8")
        for path in (TOP / "docs/reference").glob("*.md")
    }
    assert stored.keys() == pages.keys(), "run python docs/reference/make.py"
    for name, text in pages.items():
        assert stored[name] == text, f"{name} is old: run python docs/reference/make.py"
    for name in spikeloom.__all__:
        assert f"### spikeloom.{name}\n" in pages["spikeloom.md"]


def test_every_picture_stands_beside_the_command_that_makes_it():
    shown = 0
    for path in DOCUMENTS:
        for paragraph in path.read_text(encoding="utf-8").split("\n\n"):
            for picture in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", paragraph):
                shown += 1
                command = re.search(r"`(spikeloom|python|PYTHONPATH)[^`]*`", paragraph)
                assert command, f"{name_of(path)} does not say what makes {picture}"
    pictures = {p.name for kind in ("svg", "png") for p in (TOP / "docs").rglob(f"*.{kind}")}
    text = "".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)
    assert [name for name in sorted(pictures) if name not in text] == []
    assert shown > 0
