"""The two charts as files: whole SVG of the right size, every run on them, labels that cover nothing."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from research.report import charts
from research.report.data import ReportData
from research.report.labels import Anchor, Box, place
from research.report.svg import cut, decimals, text, ticks
from research.report.write import read_data, write_figures
from research.store.open import read_store
from tests.support.fabricate import make_lab, make_places

NOW = "2026-03-02T06:00:00Z"
SVG = "{http://www.w3.org/2000/svg}"


def data_of(root: Path, count: int) -> ReportData:
    """What the page of a made-up lab says."""
    places = make_lab(root, count) if count else make_places(root)
    with read_store(places) as store:
        return read_data(store, places, NOW)


def drawn(picture: str, name: str, kind: str) -> list[ElementTree.Element]:
    """The elements of a name that are of a class."""
    root = ElementTree.fromstring(picture)
    return [e for e in root.iter(SVG + name) if kind in e.get("class", "").split()]


def test_every_run_is_on_the_progress_chart(tmp_path: Path):
    data = data_of(tmp_path / "lab", 60)
    picture = charts.progress(data, alone=True)
    root = ElementTree.fromstring(picture)
    assert root.get("viewBox") == "0 0 1600 920"
    titles = [e.text or "" for e in root.iter(SVG + "title")]
    for row in data.rows:
        assert any(said.startswith(f"#{row.number} ") for said in titles), row
    crashes = sum(row.val_bpb is None for row in data.rows)
    assert crashes > 0
    assert len(drawn(picture, "path", "crash")) == crashes + 1  # and one in the legend
    replicated = [c for c in data.candidates if c.estimate and c.estimate.n > 1]
    assert 0 < len(drawn(picture, "path", "bar")) - 1 <= len(replicated)
    words = " ".join(e.text or "" for e in root.iter(SVG + "text"))
    assert "latest: #60" in words
    assert "60 runs" in words
    assert "kept" in words


def test_what_is_off_the_scale_is_in_the_legend_where_there_is_any(tmp_path: Path):
    data = data_of(tmp_path / "lab", 20)
    far = replace(data, rows=(*data.rows[:-1], replace(data.rows[-1], val_bpb=9.9, status="discard", doubt="too far")))
    assert "off the scale" in charts.progress(far)
    near = [row for row in data.rows if row.val_bpb is not None and row.val_bpb < 0.9985]
    assert "off the scale" not in charts.progress(replace(data, rows=tuple(near)))


def test_no_label_is_struck_through_by_the_frontier(tmp_path: Path):
    """The latest run lies above what stands, by so little that its label would lie on the line."""
    data = data_of(tmp_path / "lab", 60)
    shown = 0
    for above in range(1, 12):
        value = data.steps[-1].estimate.mean + above * 1e-4
        rows = (*data.rows[:-1], replace(data.rows[-1], val_bpb=value))
        picture = charts.progress(replace(data, rows=rows), alone=True)
        path = drawn(picture, "path", "front")[-1].get("d", "")
        levels = [tuple(map(float, numbers)) for numbers in re.findall(r"([\d.]+) ([\d.]+)H([\d.]+)", path)]
        assert levels
        for label in drawn(picture, "text", "nowlabel"):
            shown += 1
            x, y, wide = float(label.get("x", "0")), float(label.get("y", "0")), 8.0 * len(label.text or "")
            left = {"end": x - wide, "middle": x - wide / 2}.get(label.get("text-anchor", ""), x)
            for begin, level, end in levels:
                assert not (y - 12 < level < y and begin < left + wide and end > left), (begin, level, end)
    assert shown > 5


def test_the_frontier_alone(tmp_path: Path):
    data = data_of(tmp_path / "lab", 60)
    picture = charts.frontier(data, alone=True)
    assert ElementTree.fromstring(picture).get("viewBox") == "0 0 1600 620"
    assert len(drawn(picture, "circle", "keep")) == sum(step.fresh for step in data.steps)
    labels = drawn(picture, "text", "label")
    assert len(labels) == sum(step.fresh for step in data.steps) - 1  # the baseline has a line of its own


def test_the_frontier_ends_at_what_stands(tmp_path: Path):
    data = data_of(tmp_path / "lab", 60)
    assert data.headline.best is not None
    assert data.steps[-1].commit == data.headline.best.commit
    assert [step.number for step in data.steps] == sorted(step.number for step in data.steps)


@pytest.mark.parametrize("count", [0, 1, 2, 1000])
def test_figures_of_any_lab_are_whole(tmp_path: Path, count: int):
    paths = write_figures(data_of(tmp_path / "lab", count), tmp_path / "figures")
    assert [path.name for path in paths] == ["val_bpb_since_inception.svg", "val_bpb_frontier.svg"]
    for path in paths:
        ElementTree.parse(path)
        drawing = re.sub(r"<(title|text)\b.*?</\1>", "", path.read_text())
        assert not re.search(r"nan|inf\b|href|script", drawing)


def test_the_audit_is_not_on_the_charts(tmp_path: Path):
    data = data_of(tmp_path / "lab", 60)
    assert "audit" not in charts.progress(data, alone=True) + charts.frontier(data, alone=True)


def test_labels_cover_nothing():
    chance = random.Random(3)
    area = Box(0, 0, 1000, 500)
    taken = [Box(x, y, x + 8, y + 8) for x, y in [(chance.uniform(0, 990), chance.uniform(0, 490)) for _ in range(150)]]
    anchors = [Anchor(chance.uniform(0, 1000), chance.uniform(0, 500), chance.uniform(60, 220), 16) for _ in range(30)]
    boxes = [box for box in place(anchors, area, taken, air=5, reach=430) if box]
    assert len(boxes) > 5
    for number, box in enumerate(boxes):
        assert box.within(area)
        assert not any(box.meets(other) for other in [*taken, *boxes[:number]])


def test_ticks_are_round():
    assert ticks(0.9831, 0.9994, 5) == [0.985, 0.99, 0.995]
    assert decimals([0.985, 0.99, 0.995]) == 3
    assert ticks(1, 60, 12)[:3] == [5, 10, 15]
    assert ticks(1.0, 1.0, 5) == [1.0]


def test_text_of_others_is_harmless():
    assert text('<b>&"\x07', 1, 2, "label").endswith(">&lt;b&gt;&amp;&quot; </text>")
    assert cut("a longer title", 8) == "a longe…"
