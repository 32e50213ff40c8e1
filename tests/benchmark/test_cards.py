"""Which cards run the official profile, and with how many rows a forward."""

from __future__ import annotations

import pytest

import prepare
from research.benchmark import cards

SOLD = {  # name: (GiB that torch sees, compute capability, rows a forward)
    "H200": (139.8, (9, 0), 64),
    "A100 40 GB": (39.4, (8, 0), 64),
    "RTX 4090": (23.6, (8, 9), 32),
    "L4": (22.0, (8, 9), 32),
    "RTX 4060 Ti 16 GB": (15.6, (8, 9), 16),
    "RTX 3060": (11.6, (8, 6), 16),
    "RTX 3080 10 GB": (9.6, (8, 6), 0),
    "T4": (14.6, (7, 5), 16),
}


@pytest.mark.parametrize("name", SOLD)
def test_rows_follow_the_memory_of_a_card(name, monkeypatch, capsys):
    gib, capability, rows = SOLD[name]
    card = cards.Card(name, gib, capability)
    assert card.rows() == rows
    runs = name not in ("T4", "RTX 3080 10 GB")
    assert (card.why_not_official() == "") == runs
    monkeypatch.setattr(prepare, "CARD", card)
    monkeypatch.setattr(prepare, "PROFILE", prepare.PROFILES["official"])
    assert prepare.choose_profile("") is prepare.PROFILES["official" if runs else "pocket"]
    if runs:
        assert prepare.fitting_rows(64) == rows
        return
    with pytest.raises(SystemExit):
        prepare.fitting_rows(64)
    assert "can't run on it; unset AUTORESEARCH_PROFILE, or set it to pocket" in capsys.readouterr().err
