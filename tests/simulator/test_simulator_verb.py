"""The verb simulate, as a person and a script call it."""

from __future__ import annotations

import json

import pytest

from research.cli.main import run

SMALL = ["simulate", "--policies", "greedy,free", "--landscapes", "2", "--runs", "6", "--workers", "1"]


def test_rows_for_scripts_and_a_chart(capsys, tmp_path):
    chart = tmp_path / "chart.svg"
    assert run([*SMALL, "--chart", str(chart), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert next(iter(data)) == "schema"
    assert [row["policy"] for row in data["rows"]] == ["greedy", "free"]
    assert data["rows"][0]["gain_over_first"]["mean"] == 0
    assert {"mean", "low", "high", "n"} == set(data["rows"][1]["shipped_bpb"])
    assert chart.read_text().startswith("<svg")


def test_a_table_for_people(capsys):
    assert run(SMALL) == 0
    assert capsys.readouterr().out.startswith("policy")


@pytest.mark.parametrize("wrong", [["--policies", "nobody"], ["--families", "nowhere"], ["--policies", ","]])
def test_unknown_names_are_refused(capsys, wrong):
    assert run(["simulate", *wrong]) == 2
    assert capsys.readouterr().err.startswith("research: ")
