"""The pages in a real browser: nothing in the console, figures visible, slider, phone, colour schemes, print."""

from __future__ import annotations

import base64
import json

import pytest

from spikeloom.reports.page import save_page
from tests.support.learn_result_builder import make_step, make_training
from tests.support.result_builder import make_result

pytest.importorskip(
    "selenium", reason="selenium is not installed: the page is not tested in a browser"
)

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.support.browser import browser, missing, show

pytestmark = pytest.mark.skipif(
    missing() is not None, reason=f"the page is not tested in a browser: {missing()}"
)
KINDS = ("run", "mesh32", "step", "training")


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Return the page of each kind of result; the training's and the step's are of real ones."""
    folder = tmp_path_factory.mktemp("pages")
    results = {
        "run": make_result(area=make_step("cifar_conv").area),
        "mesh32": make_result("mesh32", cores=1024, chip_timesteps=40, samples=50),
        "step": make_step("cifar_conv"),
        "training": make_training(),
    }
    for name, result in results.items():
        save_page(result, folder / f"{name}.html")
    return {name: folder / f"{name}.html" for name in results}


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("profile")) as started:
        yield started


FIGURES = """return [...document.querySelectorAll('svg')].map(svg => {
  const box = svg.getBoundingClientRect();
  return {name: svg.getAttribute('aria-label'), width: box.width, height: box.height,
          seen: svg.checkVisibility({visibilityProperty: true, opacityProperty: true}), parts: svg.children.length};
})"""


@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.parametrize("kind", KINDS)
def test_every_figure_is_visible_and_the_console_is_silent(driver, pages, kind, width):
    assert show(driver, pages[kind], width=width) == []
    figures = driver.execute_script(FIGURES)
    wanted = {
        "run": (
            "Confusion",
            "Floor plan",
            "latency",
            "Roofline",
            "layer of each core",
            "outputs",
            "flits",
            "Graph",
        ),
        "mesh32": ("Roofline", "layer of each core", "Graph"),
        "step": ("Timeline", "Roofline: forward engine", "Roofline: vector unit"),
        "training": ("Accuracy", "Loss", "Timeline", "Roofline: backward engine"),
    }[kind]
    names = [figure["name"] for figure in figures]
    for word in wanted:
        assert any(word in name for name in names), word
    for figure in figures:
        assert figure["seen"], figure
        assert figure["width"] >= 200, figure
        assert figure["height"] >= 80, figure
        assert figure["parts"] > 0, figure


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_wider_than_a_phone_and_nothing_is_fetched(driver, pages, kind):
    show(driver, pages[kind], width=360)
    assert driver.execute_script("return document.scrollingElement.scrollWidth") == 360
    assert driver.execute_script("return performance.getEntriesByType('resource').length") == 0
    # Wide tables and figures scroll in boxes of their own.
    wide = "return [...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth).length"
    assert driver.execute_script(wide) > 0


def fills(driver, prefix: str) -> dict[str, str]:
    script = (
        "return Object.fromEntries([...document.querySelectorAll(`[id^='${arguments[0]}-']`)]"
        ".filter(e => e.tagName == 'rect').map(e => [e.id, getComputedStyle(e).fill]))"
    )
    return driver.execute_script(script, prefix)


@pytest.mark.parametrize("kind", ["run", "mesh32"])
def test_the_slider_changes_maps_label_and_bar(driver, pages, kind):
    show(driver, pages[kind])
    data = json.loads(driver.find_element(By.ID, "frames").get_attribute("textContent"))
    slider, label = driver.find_element(By.ID, "step"), driver.find_element(By.ID, "step-label")
    assert slider.is_displayed()
    assert label.text == "all timesteps"
    before = {prefix: fills(driver, prefix) for prefix in ("core", "router")}
    quietest = min(range(len(data["steps"])), key=lambda i: sum(data["routers"][i]))
    slider.send_keys(*[Keys.ARROW_RIGHT] * (quietest + 1))
    assert label.text == f"chip timestep {data['steps'][quietest]}"
    assert len(driver.find_elements(By.CSS_SELECTOR, "rect.frame.here")) == 1
    for kinds, prefix in (("cores", "core"), ("routers", "router")):
        after = fills(driver, prefix)
        assert after.keys() == before[prefix].keys()
        assert after != before[prefix]
        values = data[kinds][quietest]
        number = max(range(len(values)), key=values.__getitem__)
        title = driver.find_element(By.CSS_SELECTOR, f"#{prefix}-{number} title")
        shown = title.get_attribute("textContent").rsplit(": ", 1)[1].replace(",", "")
        assert float(shown) == pytest.approx(values[number], rel=1e-2)
    slider.send_keys(Keys.HOME)
    assert label.text == "all timesteps"
    assert {prefix: fills(driver, prefix) for prefix in before} == before


# Contrast by WCAG 2: of the text's colour against the first background behind it that is not transparent.
CONTRAST = """
const parse = colour => colour.match(/[\\d.]+/g).map(Number);
const light = ([r, g, b]) => { const f = v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  return .2126 * f(r) + .7152 * f(g) + .0722 * f(b); };
const ground = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor);
  if (c.length < 4 || c[3] > 0) return c; } return [255, 255, 255]; };
const behind = e => {
  if (!(e instanceof SVGElement)) return ground(e);
  const box = e.getBoundingClientRect(), x = box.x + box.width / 2, y = box.y + box.height / 2;
  const shapes = [...e.closest('svg').querySelectorAll('rect, circle, text')];
  for (const s of shapes.slice(0, shapes.indexOf(e)).reverse()) {
    const b = s.getBoundingClientRect(), fill = getComputedStyle(s).fill;
    const there = b.x <= x && x <= b.right && b.y <= y && y <= b.bottom;
    if (s.tagName != 'text' && fill.startsWith('rgb') && there) return parse(fill);
  }
  return ground(e.closest('svg').parentElement);
};
const own = e => [...e.childNodes].some(n => n.nodeType == 3 && n.textContent.trim());
const shown = e => own(e) && !e.closest('script, title, style') && e.checkVisibility();
return [...document.querySelectorAll('body *')].filter(shown).map(e => {
  const style = getComputedStyle(e), a = light(parse(e instanceof SVGElement ? style.fill : style.color));
  const b = light(behind(e));
  return [(Math.max(a, b) + .05) / (Math.min(a, b) + .05), e.tagName, e.textContent.trim().slice(0, 40)];
}).filter(row => row[0] < 4.5)"""
PAPER = "return getComputedStyle(document.body).backgroundColor"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", ["run", "step"])
def test_text_is_readable_in_light_and_dark(driver, pages, kind, scheme):
    show(driver, pages[kind], scheme=scheme)
    red = int(driver.execute_script(PAPER).split("(")[1].split(",")[0])
    assert red > 240 if scheme == "light" else red < 40
    assert driver.execute_script(CONTRAST) == []


@pytest.mark.parametrize("kind", ["run", "training"])
def test_print_is_light_whole_and_without_controls(driver, pages, kind):
    assert show(driver, pages[kind], width=718, scheme="dark", media="print") == []
    assert driver.execute_script(PAPER) == "rgb(255, 255, 255)"
    assert driver.execute_script("return document.scrollingElement.scrollWidth") == 718
    for hidden in ("nav", "#control"):
        for element in driver.find_elements(By.CSS_SELECTOR, hidden):
            assert not element.is_displayed()
    # Tables that are folded on the screen are on the paper.
    folded = "return [...document.querySelectorAll('details table')].map(e => e.getBoundingClientRect().height)"
    heights = driver.execute_script(folded)
    assert heights
    assert min(heights) > 10
    printed = driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})
    assert base64.b64decode(printed["data"]).startswith(b"%PDF-")
