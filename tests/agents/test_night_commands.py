"""The commands that the morning page prints: they go on as the night did, elsewhere and by whom it was."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from research.agents.night import limits as night_limits
from research.agents.night.command import night_command, one_run, replicate_command
from research.agents.night.state import FACT, NightLimits, NightState
from research.core.clock import parse_utc
from research.report.page import render
from research.report.write import read_data
from research.store.open import open_store, read_store
from tests.support.fabricate import make_lab

BEGUN, NOW = "2026-03-01T22:00:00Z", "2026-03-02T06:00:00Z"
ENDED = NightState("n", "autoresearch/made-up", "builtin", "local", 0, 1, BEGUN, NightLimits(5), finished_utc=NOW)
REMOTE = replace(
    ENDED,
    agent="codex",
    backend="modal",
    workers=4,
    gpu="H200",
    timeout_s=1200.0,
    limits=NightLimits(None, 6.0, 40.0, 2.5),
)
PLACE = "--backend modal --gpu H200 --timeout 20"


def test_a_plain_night_has_plain_commands():
    for night in (None, ENDED):
        assert night_command(night) == "uv run research night --hours 8"
        assert one_run(night) == "uv run research night --max-runs 1"
        assert replicate_command("0123456789abcdef", night) == "uv run research replicate 0123456789ab"


def test_another_night_is_by_the_same_agent_at_the_same_place():
    how = f"--agent codex {PLACE} --workers 4 --usd-per-hour 2.5"
    assert night_command(REMOTE) == f"uv run research night --hours 6 --max-usd 40 {how}"
    assert one_run(REMOTE) == f"uv run research night --max-runs 1 {how}"
    assert replicate_command("0123456789abcdef", REMOTE) == f"uv run research replicate 0123456789ab {PLACE}"


def test_a_night_until_a_time_of_day_has_that_again():
    night = replace(ENDED, limits=NightLimits(until_utc="2026-03-02T06:30:00Z"))
    shown = parse_utc("2026-03-02T06:30:00Z").astimezone()
    assert night_command(night) == f"uv run research night --until {shown:%H:%M}"


@pytest.mark.parametrize("limits", [NightLimits(), NightLimits(12), NightLimits(12, 8.0, 20.0, 1.5)])
def test_of_an_interrupted_night_it_is_the_very_command_that_goes_on(limits: NightLimits):
    cut = replace(REMOTE, limits=limits, finished_utc=None, policy="greedy", seed=9)
    words = night_command(cut).split()[4:]
    told = dict(zip(words[::2], words[1::2], strict=True))
    asked = NightLimits(
        int(told["--max-runs"]) if "--max-runs" in told else None,
        float(told["--hours"]) if "--hours" in told else None,
        float(told["--max-usd"]) if "--max-usd" in told else None,
        float(told.get("--usd-per-hour", 0.0)),
    )
    assert asked == limits
    assert night_command(replace(cut, race=False)) == night_command(cut).replace("--seed 9", "--seed 9 --no-race")
    assert (told["--policy"], told["--seed"], told["--agent"]) == ("greedy", "9", "codex")
    assert night_limits.why_new(cut, replace(cut, limits=asked), [], parse_utc(NOW)) is None


def test_the_page_prints_them(tmp_path: Path):
    paths = make_lab(tmp_path / "lab", 60)
    pages = []
    for night in (REMOTE, replace(REMOTE, finished_utc=None)):
        with open_store(paths, NOW, lambda _: None) as store:
            store.set_fact(FACT, night.to_json())
        with read_store(paths) as store:
            pages.append(re.sub("</?span>", "", render(read_data(store, paths, NOW))))
    for page, night in zip(pages, (REMOTE, replace(REMOTE, finished_utc=None)), strict=True):
        assert night_command(night) in page
        assert f"research replicate {{commit}} {PLACE}" in page
    assert "go on with another night on this branch" in pages[0]
    assert "The night was cut off. Go on where it ended:" in pages[1]
