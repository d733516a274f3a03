"""The how-tos: every block of commands runs as it stands, page by page, in an empty folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent
PAGES = sorted(path for path in (TOP / "docs/howto").glob("*.md") if path.name != "README.md")
FENCE = re.compile(r"^```(\w+)(?: (\w+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page):
    """(language, mark, text) of each block of code."""
    return FENCE.findall(page.read_text(encoding="utf-8"))


def run(language, text, folder):
    command = {"sh": ["bash", "-eu", "-c", text], "python": [sys.executable, "-c", text]}[language]
    # The commands of this interpreter, wherever the tests were started from.
    paths = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = {**os.environ, "PATH": paths, "PYTHONWARNINGS": "error::SyntaxWarning"}
    return subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_every_job_has_its_page():
    index = (TOP / "docs/howto/README.md").read_text(encoding="utf-8")
    assert len(PAGES) == 4
    for page in PAGES:
        assert f"({page.name})" in index
        assert len(blocks(page)) >= 4
        assert {language for language, _, _ in blocks(page)} <= {"sh", "python"}
        assert {mark for _, mark, _ in blocks(page)} <= {"", "slow"}
        assert "spikeloom " in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_commands_of_a_page_run(page, tmp_path, request):
    slow = request.config.getoption("--runslow")
    done = 0
    for number, (language, mark, text) in enumerate(blocks(page), 1):
        if mark == "slow" and not slow:
            continue
        result = run(language, text, tmp_path)
        assert result.returncode == 0, f"block {number} of {page.name}:\n{text}\n{result.stderr}"
        done += 1
    assert done >= 4


def test_a_block_that_fails_is_seen(tmp_path):
    assert run("sh", "spikeloom check missing.nir --chip tianjic\ntrue", tmp_path).returncode == 2
    assert run("python", "raise SystemExit(3)", tmp_path).returncode == 3
