"""The verb simulate, as a person and a script call it."""

from __future__ import annotations

import json
import re

import pytest

from research.cli.main import run

SMALL = ["simulate", "--policies", "greedy,random", "--landscapes", "2", "--runs", "6", "--workers", "1"]


def test_rows_for_scripts_and_a_chart(capsys, tmp_path):
    chart = tmp_path / "chart.svg"
    assert run([*SMALL, "--chart", str(chart), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert next(iter(data)) == "schema"
    assert [row["policy"] for row in data["rows"]] == ["greedy", "random"]
    assert data["rows"][0]["gain_difference"]["mean"] == 0
    assert {"mean", "low", "high", "n"} == set(data["rows"][1]["shipped_bpb"])
    assert chart.read_text().startswith("<svg")


@pytest.mark.parametrize("runs", ["6", "2"])
def test_a_table_for_people(capsys, runs):
    assert run([*SMALL[:6], runs, *SMALL[7:]]) == 0
    text = capsys.readouterr().out
    assert text.startswith("policy")
    assert not {"nan", "inf"} & set(re.findall(r"[a-z]+", text))
    assert "[–]" in text


def test_a_share_stays_within_none_and_all(capsys):
    assert run([*SMALL[:4], "12", *SMALL[5:]]) == 0
    cells = re.findall(r"\[(-?[0-9.]+), (-?[0-9.]+)\]", capsys.readouterr().out.splitlines()[1])
    assert 0 <= float(cells[3][0]) <= float(cells[3][1]) <= 100


def test_the_policy_to_compare_with_is_played_too(capsys):
    assert run([*SMALL[:2], "random", *SMALL[3:], "--json"]) == 0
    assert [row["policy"] for row in json.loads(capsys.readouterr().out)["rows"]] == ["greedy", "random"]
    assert run([*SMALL[:2], "random", *SMALL[3:], "--against", "random"]) == 0
    assert "to random" in capsys.readouterr().out


def test_the_noise_can_be_said(capsys):
    noise = ["--sigma", "0.001", "--seed-sd", "0.004", "--interaction-sd", "0", "--forecast-error", "2"]
    assert run([*SMALL, *noise, "--json"]) == 0
    families = json.loads(capsys.readouterr().out)["families"]
    assert {tuple(family["noise"].values()) for family in families} == {(0.001, 0.004, 0.0, 2.0)}
    assert run([*SMALL, "--families", "far-seeds,one-seed"]) == 0
    assert "seed sd 0 to 0.003" in capsys.readouterr().out


@pytest.mark.parametrize(
    "wrong", [["--policies", "nobody"], ["--families", "nowhere"], ["--policies", ","], ["--chart", "."]]
)
def test_what_cannot_be_played_or_drawn_is_refused(capsys, wrong):
    assert run(["simulate", *wrong]) == 2
    assert capsys.readouterr().err.startswith("research: ")
