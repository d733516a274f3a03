"""Size and load time of pages in a headless browser.

Usage: PYTHONPATH=. python benchmarks/page_load.py PAGE.html ...

Needs Debian's chromium and chromium-driver. Each page is loaded six times; the fastest load counts, by the browser's
own clock: from the start of the navigation to the end of its load event.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.support.browser import browser, show

LOADS = 6
_LOADED_MS = "return performance.getEntriesByType('navigation')[0].loadEventEnd"


def main(pages: list[str]) -> None:
    """Print a line a page."""
    if not pages:
        sys.exit("name a page: of `spikeloom run --report`, `train --report` or `report`")
    with tempfile.TemporaryDirectory() as folder, browser(Path(folder)) as window:
        for page in map(Path, pages):
            times = []
            for _ in range(LOADS):
                show(window, page.resolve())
                times.append(float(window.execute_script(_LOADED_MS)))
            print(f"{page}: {page.stat().st_size / 1e3:,.0f} kB, loaded in {min(times):,.0f} ms")


if __name__ == "__main__":
    main(sys.argv[1:])
