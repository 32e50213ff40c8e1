"""The two charts: every run with its words and its row, names that cover no others, whole files of the right size."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from research.report import charts, page
from research.report.charts import Chart, Text
from research.report.data import PageData
from research.report.text import cut
from research.report.write import read_data, write_figures
from research.store.open import read_store
from tests.support.fabricate import make_lab, make_places

NOW = "2026-03-02T06:00:00Z"
SVG = "{http://www.w3.org/2000/svg}"
SIZES = (charts.WIDE, charts.NARROW, charts.FILE)


def data_of(root: Path, count: int) -> PageData:
    """What the page of a made-up lab says."""
    places = make_lab(root, count) if count else make_places(root)
    with read_store(places) as store:
        return read_data(store, places, NOW)


@pytest.fixture(scope="module")
def sixty(tmp_path_factory: pytest.TempPathFactory) -> PageData:
    """A lab of 60 runs."""
    return data_of(tmp_path_factory.mktemp("sixty") / "lab", 60)


def box(text: Text, size: charts.Size) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of words, about."""
    wide = len(text.words) * size.em * 0.6
    left = text.x - {"start": 0, "middle": wide / 2, "end": wide}[text.anchor]
    return left, text.y - size.em * 0.8, left + wide, text.y + size.em * 0.2


def labels(chart: Chart) -> list[Text]:
    """The names in the plot."""
    return [text for text in chart.texts if "label" in text.kind]


@pytest.mark.parametrize("size", SIZES)
def test_every_run_is_on_the_progress_chart_and_leads_to_its_row(sixty: PageData, size: charts.Size):
    chart = charts.progress(sixty, size)
    runs = {mark.row: mark for mark in chart.marks if mark.shape not in ("bar", "ring")}
    assert sorted(runs) == list(range(1, 61))
    for row in sixty.rows:
        mark = runs[row.number]
        assert mark.title.startswith(f"#{row.number} ")
        assert row.decision in mark.title
        assert (mark.shape == "crash") == (row.val_bpb is None)
        assert mark.kind.endswith("again") == (
            row.first != row.number and mark.shape not in ("above", "below", "crash")
        )
    assert 0 < sum(mark.shape == "bar" for mark in chart.marks) <= sum(c.n > 1 for c in sixty.candidates)
    assert [mark.row for mark in chart.marks if mark.shape == "ring"] == [60]
    words = " ".join(text.words for text in chart.texts)
    assert "latest: #60" in words
    assert "baseline" in words


def test_a_shape_tells_what_became_of_a_run(sixty: PageData):
    rows = tuple(
        replace(row, status=status) for row, status in zip(sixty.rows, ("keep", "open", "discard"), strict=False)
    )
    shapes = [mark.shape for mark in charts.progress(replace(sixty, rows=rows, candidates=())).marks]
    assert shapes[:3] == ["keep", "open", "discard"]


def test_what_is_off_the_scale_is_in_the_legend_where_there_is_any(sixty: PageData):
    far = replace(sixty.rows[-1], run=replace(sixty.rows[-1].run, val_bpb=9.9, suspect=("too far",)))
    assert "off the scale" in page.figures(replace(sixty, rows=(*sixty.rows[:-1], far)))[page.FIGURES[0]]
    close = [row for row in sixty.rows if row.val_bpb is not None and row.val_bpb < 0.9985]
    near = tuple(replace(row, number=number) for number, row in enumerate(close, 1))
    assert "off the scale" not in page.figures(replace(sixty, rows=near))[page.FIGURES[0]]


@pytest.mark.parametrize("size", SIZES)
def test_the_latest_is_never_named_on_the_line_of_the_best(sixty: PageData, size: charts.Size):
    """The latest run lies above the best, by so little that its name would lie on the line."""
    last = sixty.rows[-1]
    for above in range(-12, 12):
        value = sixty.steps[-1].estimate.mean + above * 1e-4
        data = replace(sixty, rows=(*sixty.rows[:-1], replace(last, run=replace(last.run, val_bpb=value))))
        chart = charts.progress(data, size)
        (path,) = [line.path for line in chart.lines if line.kind == "front"]
        levels = [tuple(map(float, numbers)) for numbers in re.findall(r"([\d.]+) ([\d.]+)H([\d.]+)", path)]
        (name,) = [text for text in chart.texts if text.words.startswith("latest")]
        left, top, right, bottom = box(name, size)
        for begin, level, end in levels[-1:]:
            assert not (top < level < bottom and begin < right and end > left), (above, begin, level, end)


def crowds(texts: Sequence[Text], size: charts.Size) -> int:
    """How many pairs of words lie on each other."""
    boxes = [box(text, size) for text in texts]
    pairs = [(a, b) for place, a in enumerate(boxes) for b in boxes[:place]]
    return sum(a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3] for a, b in pairs)


@pytest.mark.parametrize("count", [5, 60, 200])
@pytest.mark.parametrize("size", SIZES)
def test_names_cover_no_others_and_stay_in_the_drawing(tmp_path: Path, count: int, size: charts.Size):
    data = data_of(tmp_path / "lab", count)
    for chart in (charts.progress(data, size), charts.frontier(data, size)):
        assert crowds(labels(chart), size) == 0
        assert crowds([t for t in chart.texts if t.words in ("best", "baseline")], size) == 0
        for text in chart.texts:
            left, _, right, bottom = box(text, size)
            assert left >= -1
            assert right <= size.width + 1
            assert bottom <= size.height


def test_the_best_so_far_is_named_first(sixty: PageData):
    words = [text.words for text in labels(charts.frontier(sixty))]
    assert sixty.headline.best is not None
    assert words[0].startswith(sixty.headline.best.title[:10])
    assert 1 < len(words) < sum(step.is_new for step in sixty.steps)  # the baseline has a line of its own


def test_the_frontier_ends_at_the_best_so_far(sixty: PageData):
    assert sixty.headline.best is not None
    assert sixty.steps[-1].commit == sixty.headline.best.commit
    assert [step.number for step in sixty.steps] == sorted(step.number for step in sixty.steps)
    assert len(charts.frontier(sixty).marks) == sum(step.is_new for step in sixty.steps)


@pytest.mark.parametrize("count", [0, 1, 2, 1000])
def test_figures_of_any_lab_are_whole(tmp_path: Path, count: int):
    paths = write_figures(data_of(tmp_path / "lab", count), tmp_path / "figures")
    assert [path.name for path in paths] == ["val_bpb_since_inception.svg", "val_bpb_frontier.svg"]
    for path, box_ in zip(paths, ("0 0 1600 920", "0 0 1600 620"), strict=True):
        root = ElementTree.parse(path).getroot()
        assert root.get("viewBox") == box_
        assert all(element.tag.startswith(SVG) for element in root.iter())
        drawing = re.sub(r"<(title|text)\b.*?</\1>", "", path.read_text())
        assert not re.search(r"nan|inf\b|href|script", drawing)
        assert "prefers-color-scheme:dark" in drawing
        assert f"{count} runs · " in path.read_text()


def test_text_of_others_is_harmless(sixty: PageData):
    nasty = '<b>&"\x07\x00\ud800'
    rows = tuple(replace(row, title=nasty) for row in sixty.rows)
    picture = page.figures(replace(sixty, rows=rows, branch=nasty))[page.FIGURES[0]]
    titles = [e.text or "" for e in ElementTree.fromstring(picture).iter(SVG + "title")]
    assert sum('<b>&"   ' in title for title in titles) >= 60 - 3


def test_the_audit_is_not_on_the_charts(sixty: PageData):
    assert "audit" not in "".join(page.figures(sixty).values())


def test_ticks_are_round():
    assert charts.ticks(0.9831, 0.9994, 5) == [0.985, 0.99, 0.995]
    assert charts.decimals([0.985, 0.99, 0.995]) == 3
    assert charts.ticks(1, 60, 12)[:3] == [5, 10, 15]
    assert charts.ticks(1.0, 1.0, 5) == [1.0]
    assert cut("a longer title", 8) == "a longe…"
