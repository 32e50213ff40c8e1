"""The two charts: every run with its words and its row, names that cover no others, whole files of the right size."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from research.core.records import Judged
from research.report import charts, page
from research.report.charts import Chart, Text, constant_charts, loss_charts
from research.report.data import PageData, RunCurve, page_data
from research.report.text import cut
from research.report.write import write_figures
from research.runs.racing import RACE, Look, Prediction, Race
from tests.support.fabricate import data_of
from tests.support.histories import name, run

NOW = "2026-03-02T06:00:00Z"
SVG = "{http://www.w3.org/2000/svg}"
SIZES = (charts.WIDE, charts.NARROW, charts.FILE)


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
    assert [mark.row for mark in chart.marks] == list(range(1, 61))
    for row, mark in zip(sixty.rows, chart.marks, strict=True):
        assert mark.title == "" if size.is_narrow else mark.title.startswith(f"#{row.number} ")
        assert (mark.shape == "crash") == (row.run.val_bpb is None)
        assert (mark.shape == "again") == (row.first != row.number and mark.shape not in ("above", "below", "crash"))
    joined = sum(row.first != row.number and row.run.val_bpb is not None for row in sixty.rows)
    assert sum(line.kind == "join" for line in chart.lines) == joined > 3
    assert "baseline" in " ".join(text.words for text in chart.texts)
    assert {entry[0] for entry in chart.legend} >= {"keep", "discard", "again", "front", "crash"}


def test_a_phone_is_spared_most_losers_of_a_long_history(tmp_path: Path):
    data = data_of(tmp_path / "lab", 700)
    notable = {row.number for row in data.rows if row.status != "discard"}
    marks = {mark.row for mark in charts.progress(data, charts.NARROW).marks}
    assert notable <= marks
    assert len(marks) < 400
    assert len(charts.progress(data, charts.WIDE).marks) == 700


def test_a_run_that_was_stopped_early_is_no_crash(sixty: PageData):
    row = replace(sixty.rows[5], status="stopped", run=replace(sixty.rows[5].run, val_bpb=None))
    chart = charts.progress(replace(sixty, rows=(*sixty.rows[:5], row, *sixty.rows[6:])))
    assert chart.marks[5].shape == "stopped"
    assert "stopped" in {entry[0] for entry in chart.legend}


def test_a_shape_tells_what_became_of_a_run(sixty: PageData):
    rows = tuple(
        replace(row, status=status, first=row.number)
        for row, status in zip(sixty.rows, ("keep", "open", "discard"), strict=False)
    )
    shapes = [mark.shape for mark in charts.progress(replace(sixty, rows=rows, candidates=())).marks]
    assert shapes[:3] == ["keep", "open", "discard"]


def test_what_is_off_the_scale_is_in_the_legend_where_there_is_any(sixty: PageData):
    far = replace(sixty.rows[-1], run=replace(sixty.rows[-1].run, val_bpb=9.9, suspect=("too far",)))
    assert "off the scale" in page.figures(replace(sixty, rows=(*sixty.rows[:-1], far)))[page.FIGURES[0]]
    close = [row for row in sixty.rows if row.run.val_bpb is not None and row.run.val_bpb < 0.9985]
    near = tuple(replace(row, number=number) for number, row in enumerate(close, 1))
    assert "off the scale" not in page.figures(replace(sixty, rows=near))[page.FIGURES[0]]


def crowds(texts: Sequence[Text], size: charts.Size) -> int:
    """How many pairs of words lie on each other."""
    boxes = [box(text, size) for text in texts]
    pairs = [(a, b) for place, a in enumerate(boxes) for b in boxes[:place]]
    return sum(a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3] for a, b in pairs)


@pytest.mark.parametrize("count", [5, 60, 200])
@pytest.mark.parametrize("size", SIZES)
def test_names_cover_no_others_and_stay_in_the_drawing(tmp_path: Path, count: int, size: charts.Size):
    data = data_of(tmp_path / "lab", count)
    for chart in (
        charts.progress(data, size),
        charts.frontier(data, size),
        *constant_charts(data),
        *loss_charts(data.curves),
    ):
        assert crowds(labels(chart), size) == 0
        assert crowds([t for t in chart.texts if t.words in ("best", "baseline")], size) == 0
        for text in chart.texts:
            left, _, right, bottom = box(text, chart.size)
            assert left >= -1
            assert right <= chart.size.width + 1
            assert bottom <= chart.size.height


def test_the_best_so_far_is_named_first(sixty: PageData):
    words = [text.words for text in labels(charts.frontier(sixty))]
    assert words[0].startswith(sixty.best.title[:10])
    assert 1 < len(words) < len(sixty.steps)  # the baseline has a line of its own


def test_a_change_that_was_replaced_by_a_better_one_is_named_without_a_gain(sixty: PageData):
    run, last, value = sixty.steps[-1]
    before = replace(last, status="discard", title="what was replaced", known=replace(last.known, key="other"))
    steps = (*sixty.steps[:-1], (run - 1, before, value), sixty.steps[-1])
    words = [text.words for text in charts.progress(replace(sixty, steps=steps)).texts if text.kind == "label"]
    assert "what was replaced" in words


def test_a_value_lies_lower_where_it_was_better(sixty: PageData):
    drawn = constant_charts(sixty)
    assert {chart.name for chart in drawn} <= set(sixty.memory.tried)
    known_of = {one.number: one.known for one in sixty.candidates}
    for chart in drawn:
        assert chart.marks
        inside = [(mark.y, known_of[mark.row].gain.mean) for mark in chart.marks if mark.shape != "above"]
        assert [y for y, _ in sorted(inside, key=lambda pair: pair[1])] == sorted(y for y, _ in inside)
        assert all(chart.name in known_of[mark.row].delta for mark in chart.marks)


def test_values_are_ordered_by_size_and_words_by_appearance():
    runs = [
        run(0, val_bpb=0.99),
        run(1, name(0), 0.98, delta={"BATCH": "2**11 -> 2**13"}),
        run(2, name(1), 0.97, delta={"BATCH": "2**13 -> 2**12"}),
        run(3, name(2), 0.96, delta={"WINDOW": "8 if OFFICIAL else 'SSL' -> 8 if OFFICIAL else 'L'"}),
    ]
    drawn = constant_charts(page_data([Judged(one) for one in runs], runs[0].branch, NOW))
    (a, b), (word,) = [chart.marks for chart in drawn]
    assert a.x > b.x
    assert [text.words for text in drawn[1].texts][-2:] == ["'SSL'", "'L'"]
    assert word.row == 4


def test_what_a_constant_did_shows_no_run_that_was_stopped():
    looks = (Look(0.5, 0.1, Prediction(0.05, 0.02, 0.001)),)
    race = Race(against=run(0).run, looks=looks)
    runs = [
        run(0, val_bpb=0.99),
        run(1, name(0), 0.98, delta={"BATCH": "2**11 -> 2**13"}),
        run(2, name(0), None, delta={"BATCH": "2**11 -> 2**12"}, outcome="stopped", facts={RACE: race.to_fact()}),
    ]
    data = page_data([Judged(one) for one in runs], runs[0].branch, NOW)
    assert [one.after for one in data.memory.tried["BATCH"] if one.known.gain] == ["2**13", "2**12"]
    (chart,) = constant_charts(data)
    assert [mark.row for mark in chart.marks] == [2]


def test_the_loss_is_drawn_beside_the_baselines_and_minus_it():
    base = tuple((i / 100, 5 - i / 50) for i in range(1, 101))
    better = tuple((at, loss - 0.5) for at, loss in base)
    curves = (RunCurve(1, "baseline", base), RunCurve(7, "best", better))
    loss, ahead = loss_charts(curves)
    assert [line.kind for line in ahead.lines if "curve" in line.kind] == ["curve baseline", "curve best"]
    assert {"baseline", "#7 best"} <= {text.words for text in loss.texts}
    (path,) = [line.path for line in ahead.lines if line.kind == "curve best"]
    heights = {pair.split(" ")[1] for pair in path[1:].split("L")}
    assert len(heights) == 1  # half a nat ahead all the way
    assert loss_charts(curves[:1]) == []
    told = (curves[0], replace(curves[1], ahead=((0.2, 0.1), (0.9, -0.1))))  # over the same rows, where logs tell it
    (path,) = [line.path for line in loss_charts(told)[1].lines if line.kind == "curve best"]
    assert path.count("L") == 1


def test_the_frontier_ends_at_the_best_so_far(sixty: PageData):
    assert sixty.steps[-1][1] is sixty.best
    assert [number for number, *_ in sixty.steps] == sorted(number for number, *_ in sixty.steps)
    assert len(charts.frontier(sixty).marks) == len(sixty.steps) > 2


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
    picture = page.figures(replace(sixty, rows=rows, memory=replace(sixty.memory, branch=nasty)))[page.FIGURES[0]]
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
