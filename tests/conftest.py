"""Options of the test run: slow tests on request; no deadline for properties, since kernels compile at first use."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

# Times say nothing about correctness on a shared machine; CI draws the same examples each time.
settings.register_profile(
    "spikeloom", deadline=None, print_blob=True, derandomize="CI" in os.environ
)
settings.load_profile("spikeloom")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--runslow", action="store_true", help="run the tests marked slow, too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--runslow"):
        return
    skip = pytest.mark.skip(reason="slow: give --runslow")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)
