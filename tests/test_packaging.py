"""The layout: links, the lists of packages, and what the checkers are told about them."""

from __future__ import annotations

import re
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES = PROJECT["tool"]["setuptools"]["packages"]
FOLDERS = ("chip", "compiler", "hw", "models", "reports", "sim")


def folder_of(package: str) -> Path:
    return TOP.joinpath(*package.split("."))


@pytest.mark.parametrize("folder", FOLDERS)
def test_links_lead_to_the_folders_of_the_top_level(folder):
    link = TOP / "spikeloom" / folder
    assert link.is_symlink()
    assert link.readlink() == Path("..") / folder
    assert link.resolve() == TOP / folder


def test_no_other_links():
    links = {path.name for path in (TOP / "spikeloom").iterdir() if path.is_symlink()}
    assert links == set(FOLDERS)


def test_every_folder_with_modules_is_a_listed_package():
    found = {"spikeloom"}
    for folder in FOLDERS:
        for module in (TOP / folder).rglob("*.py"):
            found.add(".".join(("spikeloom", *module.parent.relative_to(TOP).parts)))
    for module in (TOP / "spikeloom").glob("*/__init__.py"):
        if not module.parent.is_symlink():
            found.add(f"spikeloom.{module.parent.name}")
    assert found == set(PACKAGES)


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_and_are_themselves(package):
    assert (folder_of(package) / "__init__.py").is_file()
    assert import_module(package).__name__ == package


@pytest.mark.parametrize("package", PACKAGES)
def test_every_data_file_ships(package):
    kinds = {
        ".yaml",
        ".yml",
        ".json",
        ".nir",
        ".npz",
        ".j2",
        ".css",
        ".js",
        ".md",
        ".typed",
        ".v",
        ".cpp",
    }
    folder = folder_of(package)
    shipped = {
        path
        for pattern in PROJECT["tool"]["setuptools"]["package-data"].get(package, ())
        for path in folder.glob(pattern)
    }
    inner = [folder_of(p) for p in PACKAGES if p.startswith(f"{package}.")]
    links = [TOP / "spikeloom" / name for name in FOLDERS] if package == "spikeloom" else []
    for path in folder.rglob("*"):
        if path.suffix in kinds and not any(other in path.parents for other in (*inner, *links)):
            assert path in shipped, f"{path.relative_to(TOP)} would be missing in a wheel"


def test_checkers_are_told_about_every_link():
    tool = PROJECT["tool"]
    links = {f"spikeloom/{folder}" for folder in FOLDERS}
    assert (
        set(tool["ruff"]["extend-exclude"]) >= links
    )  # ruff sees each file once, at the top level
    assert set(tool["pyright"]["include"]) >= links | {
        "spikeloom",
        "tests",
    }  # Pyright enters no other


def test_every_dependency_has_a_reason():
    text = (TOP / "pyproject.toml").read_text(encoding="utf-8")
    names = [
        *PROJECT["project"]["dependencies"],
        *PROJECT["project"]["optional-dependencies"]["dev"],
    ]
    for name in names:
        line = next(line for line in text.splitlines() if f'"{name}"' in line)
        assert "#" in line or name.startswith("pytest"), line


def test_the_command_is_there():
    module, function = PROJECT["project"]["scripts"]["spikeloom"].split(":")
    assert callable(getattr(import_module(module), function))


def test_torch_stays_an_extra():
    everyday = [
        *PROJECT["project"]["dependencies"],
        *PROJECT["project"]["optional-dependencies"]["dev"],
    ]
    assert not any(re.match(r"torch\b", name) for name in everyday)
