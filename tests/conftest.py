"""Options of the test run: slow tests on request; no deadline for properties, since kernels compile at first use."""

from __future__ import annotations

import pytest
from hypothesis import settings

settings.register_profile("spikeloom", deadline=None, print_blob=True)
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
