"""The morning page in a real browser, as wide as a desk and as a phone: it sorts, filters and unfolds its rows."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from research.agents.night.state import NightLimits, NightState
from research.report.data import PageData
from research.report.recording import read_recording
from research.report.write import write_page
from tests.support.fabricate import BRANCH, data_of

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}

try:
    from playwright.sync_api import sync_playwright
except ImportError:
    sync_playwright = None

pytestmark = [
    pytest.mark.xdist_group("browser"),  # one browser, not one of each worker
    pytest.mark.skipif(PROGRAM is None, reason="no chromium on PATH: install Debian's package chromium"),
    pytest.mark.skipif(sync_playwright is None, reason="no playwright package: uv sync --group dev"),
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A browser of its own, with a fresh profile."""
    with sync_playwright() as driver:
        profile = tmp_path_factory.mktemp("profile")
        context = driver.chromium.launch_persistent_context(str(profile), executable_path=PROGRAM, args=list(FLAGS))
        yield context
        context.close()


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory, sixty: PageData) -> Path:
    """The page of 60 runs."""
    return write_page(sixty, tmp_path_factory.mktemp("page") / "report.html")


@pytest.fixture
def opened(browser: Any, page_file: Path) -> Iterator[Any]:
    """The page, opened; errors and requests for anything else fail the test."""
    with visit(browser, page_file, DESK) as tab:
        yield tab


@contextmanager
def visit(browser: Any, file: Path, size: dict[str, int]) -> Iterator[Any]:
    """Opens a file, and holds it to silence when the test is over."""
    tab = browser.new_page()
    tab.set_viewport_size(size)
    trouble: list[str] = []
    tab.on("pageerror", lambda error: trouble.append(str(error)))
    tab.on("console", lambda line: trouble.append(line.text))
    tab.on("request", lambda asked: trouble.append(asked.url) if asked.url != file.as_uri() else None)
    tab.goto(file.as_uri())
    yield tab
    tab.close()
    assert trouble == []


def column(tab: Any, place: int) -> list[str]:
    """The texts of a column's visible cells."""
    found: list[str] = tab.eval_on_selector_all(
        "#runs tbody tr[id]",
        "(rows, place) => rows.filter(r => r.checkVisibility()).map(r => r.cells[place].textContent)",
        place,
    )
    return found


def test_it_shows_the_latest_runs_first_and_sorts(opened: Any):
    assert column(opened, 0) == [str(n) for n in range(60, 40, -1)]
    opened.click("#more button")
    assert column(opened, 0) == [str(n) for n in range(60, 0, -1)]
    opened.click("#runs th:nth-child(2) button")
    scores = [float(text) for text in column(opened, 1) if text]
    assert scores == sorted(scores)
    assert column(opened, 1)[-1] == ""  # crashes last, whichever way
    opened.click("#runs th:nth-child(2) button")
    scores = [float(text) for text in column(opened, 1) if text]
    assert scores == sorted(scores, reverse=True)
    assert column(opened, 1)[-1] == ""


def test_it_filters(opened: Any):
    opened.select_option("#status", "crash")
    crashed = column(opened, 3)
    assert crashed
    assert set(crashed) == {"crash"}
    assert opened.text_content("#count") == f"{len(crashed)} of 60 runs"
    opened.select_option("#status", "")
    opened.fill("#words", "DEPTH lower")
    assert column(opened, 4)
    assert all("lower depth" in text for text in column(opened, 4))
    opened.fill("#words", "no such words")
    assert column(opened, 0) == []
    opened.fill("#words", "")
    assert len(column(opened, 0)) == 20


def test_it_opens_a_run_with_its_difference_and_goes_on_to_the_next(opened: Any):
    row = opened.locator("#runs tbody tr[data-status=discard]").first
    number = int(row.locator("button").inner_text())
    row.locator("button").click()
    shown = opened.locator("dialog")
    assert shown.locator("h2").inner_text().startswith(f"#{number} ")
    assert shown.locator("pre.diff .add").count() == shown.locator("pre.diff .del").count() == 1
    words = shown.inner_text()
    assert "its parent: 1000" in words
    assert "million" in words
    shown.press("ArrowLeft")
    assert shown.locator("h2").inner_text().startswith(f"#{number - 1} ")
    opened.click("#close")
    assert not shown.is_visible()


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_a_tap_beside_a_mark_opens_its_run(browser: Any, page_file: Path, size: dict[str, int]):
    with visit(browser, page_file, size) as tab:
        box = tab.locator("figure :visible[data-run='6']").first.bounding_box()
        tab.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] + 1)
        assert tab.locator("dialog h2").inner_text().startswith("#6 ")


def test_an_address_names_a_run(browser: Any, page_file: Path):
    tab = browser.new_page()
    tab.goto(page_file.as_uri() + "#r7")
    assert tab.locator("dialog h2").inner_text().startswith("#7 ")
    tab.close()


def test_times_are_those_of_the_reader(browser: Any, page_file: Path):
    with visit(browser, page_file, DESK) as tab:
        written = tab.locator("footer time").first
        here = tab.evaluate("at => new Date(at).getHours()", written.get_attribute("datetime"))
        assert f" {here:02d}:00" in written.inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_and_marks_stand_out_from_the_page(browser: Any, page_file: Path, scheme: str):
    """At least 4.5 to 1 for words, 3 to 1 for marks, as accessibility guidelines ask."""
    with visit(browser, page_file, DESK) as tab:
        tab.emulate_media(color_scheme=scheme)
        ratios = tab.evaluate(
            """() => {
                const style = getComputedStyle(document.documentElement);
                const light = name => {
                    const hex = style.getPropertyValue(name).trim().replace("#", "");
                    const full = hex.length === 3 ? [...hex].map(c => c + c).join("") : hex;
                    const parts = [0, 2, 4].map(at => parseInt(full.slice(at, at + 2), 16) / 255)
                        .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
                    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
                };
                const ratio = (a, b) => {
                    const [high, low] = [light(a), light(b)].sort((x, y) => y - x);
                    return (high + 0.05) / (low + 0.05);
                };
                return {
                    words: [["--ink", "--ground"], ["--soft", "--ground"], ["--soft", "--paper"], ["--soft", "--wash"],
                        ["--label", "--wash"], ["--keep", "--keepwash"], ["--bad", "--badwash"],
                        ["--open", "--openwash"], ["--keep", "--ground"]].map(pair => ratio(...pair)),
                    marks: ["--keep", "--drop", "--open", "--bad"].map(name => ratio(name, "--paper")),
                };
            }"""
        )
        assert min(ratios["words"]) >= 4.5
        assert min(ratios["marks"]) >= 3


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_the_screen(browser: Any, page_file: Path, size: dict[str, int], scheme: str):
    with visit(browser, page_file, size) as tab:
        tab.emulate_media(color_scheme=scheme)
        assert tab.evaluate("document.documentElement.scrollWidth") <= size["width"]
        ground = tab.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(246, 247, 248)") == (scheme == "light")
        assert tab.locator("figure:visible").count() == tab.locator("figure").count() > 5
        tab.locator("#runs tbody tr[data-status=discard]").first.click()
        assert tab.locator("pre.diff").is_visible()
        assert tab.evaluate("document.documentElement.scrollWidth") <= size["width"]


@pytest.fixture(scope="module")
def long_lines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page whose differences have lines far wider than a phone."""
    folder = tmp_path_factory.mktemp("wide")
    data = data_of(folder / "lab", 12)
    long = "@@ -1,1 +1,1 @@\n-" + "a = first(b) + " * 20 + "1\n+" + "a = second(b) + " * 20 + "1"
    return write_page(replace(data, diffs=dict.fromkeys(data.diffs, long)), folder / "report.html")


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_a_wide_difference_scrolls_in_its_own_box(browser: Any, long_lines: Path, size: dict[str, int]):
    with visit(browser, long_lines, size) as tab:
        tab.locator("#runs tbody tr:not([data-status=crash])").first.click()
        box = tab.locator("pre.diff")
        assert box.evaluate("box => box.scrollWidth > box.clientWidth")
        assert box.bounding_box()["width"] <= size["width"]
        spans = box.evaluate("box => Array.from(box.children, one => one.getBoundingClientRect().width)")
        assert len(set(spans)) == 1  # a line's ground reaches as far as the longest line


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_labels_of_the_charts_do_not_overlap(browser: Any, page_file: Path, size: dict[str, int]):
    with visit(browser, page_file, size) as tab:
        clashes = tab.evaluate(
            """() => Array.from(document.querySelectorAll("figure svg")).flatMap(svg => {
                const boxes = Array.from(svg.querySelectorAll("text.label"))
                    .map(t => t.getBoundingClientRect()).filter(b => b.width);
                const outer = svg.getBoundingClientRect();
                const out = boxes.filter(b => b.right > outer.right + 1 || b.left < outer.left - 1);
                const meets = (a, b) => a.left < b.right - 2 && b.left < a.right - 2
                    && a.top < b.bottom - 3 && b.top < a.bottom - 3;
                return out.concat(boxes.filter((a, i) => boxes.slice(0, i).some(b => meets(a, b))))
            }).length"""
        )
        assert clashes == 0


def test_what_scrolls_sideways_on_a_phone_can_be_reached_by_keys(browser: Any, tmp_path: Path):
    with visit(browser, write_page(read_recording().data(), tmp_path / "demo.html"), PHONE) as tab:
        tab.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
        wide = "[...document.querySelectorAll('.scroll')].filter(part => part.scrollWidth > part.clientWidth)"
        assert tab.evaluate(f"{wide}.every(part => part.querySelector('button'))")


def test_an_empty_lab(browser: Any, tmp_path: Path):
    with visit(browser, write_page(data_of(tmp_path / "lab", 0), tmp_path / "report.html"), PHONE) as tab:
        assert "uv run research night --max-runs 5" in tab.inner_text("main")


def test_an_open_page_renews_itself_while_a_night_goes_on_unless_somebody_reads_a_run(browser: Any, tmp_path: Path):
    night = NightState("n", BRANCH, "builtin", "local", 7, 1, "2026-03-02T04:00:00Z", NightLimits(80), 12)
    data = replace(data_of(tmp_path / "lab", 12), night=night, is_night_on=True)
    file = write_page(data, tmp_path / "report.html")
    tab = browser.new_page()
    tab.clock.install(time="2026-03-02T06:00:30Z")
    tab.goto(file.as_uri())
    tab.locator("details").last.locator("summary").click()
    tab.click("#runs tbody tr button")
    write_page(replace(data, night=replace(night, runs=13)), file)
    tab.clock.run_for(21_000)
    assert "12 of 80 runs" in tab.inner_text(".state.on")
    assert not tab.locator("#stale").is_visible()
    tab.click("#close")
    with tab.expect_navigation():
        tab.clock.run_for(21_000)
    assert "13 of 80 runs" in tab.inner_text(".state.on")
    assert tab.locator("details").last.get_attribute("open") is not None
    tab.click("#runs tbody tr button")
    tab.clock.run_for(3_600_000)
    assert tab.locator("#stale").is_visible()
    tab.close()
