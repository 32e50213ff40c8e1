"""What a card is offered: the fastest attention, and the kernels that are faster than plain PyTorch."""

from __future__ import annotations

import json

import pytest

from research.benchmark import cards, kernels, offers

CARD = cards.Card("RTX 3090", 23.6, (8, 6))
TIMES = {
    "attention fa3": "ImportError: no such package",
    "attention fa4": 2.0,
    "attention flex": 1.99,
    "attention sdpa": 9.0,
    "kernel mlp": [1.0, 1.01],
    "kernel qkv": [1.5, 1.0],
    "kernel embedding": "Disagreement: its answers differ",
}


def test_the_fastest_is_offered_and_a_tie_goes_to_the_first_in_the_list():
    offer = offers.decide(TIMES)
    assert offer.attention == ("fa4", "flex", "sdpa")
    assert offer.kernels == ("qkv",)
    assert offers.decide({**TIMES, "attention flex": 1.9}).attention == ("flex", "fa4", "sdpa")
    assert offers.decide({"attention flex": "it ended its process with exit code -11"}) == offers.Offer(
        ("sdpa",), (), {"attention flex": "it ended its process with exit code -11"}
    )


def test_a_card_is_measured_once_and_an_item_that_ends_its_process_is_passed_over(tmp_path, monkeypatch, capsys):
    """On a machine without a GPU every item fails, each with its reason; what crashes is played here."""
    monkeypatch.setattr(offers.attention, "installed", lambda: ("flex", "sdpa"))
    ends = iter((-11, 0))

    def play(command, **_):
        file, items = offers.Path(command[4]), command[5:]
        code = next(ends)
        known = {"attention flex": 3.0} if code else {item: TIMES.get(item, "no") for item in items}
        file.write_text(json.dumps(known))
        return type("Done", (), {"returncode": code})

    monkeypatch.setattr(offers.subprocess, "run", play)
    offer = offers.find(CARD, tmp_path)
    assert offer.times["attention sdpa"] == "it ended its process with exit code -11"
    assert (offer.attention, offer.kernels) == (("flex", "sdpa"), ("qkv",))
    assert set(offer.times) == {"attention flex", "attention sdpa", *(f"kernel {one.name}" for one in kernels.KERNELS)}
    assert offers.find(CARD, tmp_path) == offer  # no third process is played
    (file,) = (tmp_path / "offered").glob("*.json")
    assert json.loads(file.read_text())["card"] == "RTX 3090"


def test_a_machine_that_is_new_for_every_run_offers_what_is_installed(tmp_path, monkeypatch):
    monkeypatch.setenv("AUTORESEARCH_SEALED", "/data")
    offer = offers.find(CARD, tmp_path)
    assert "mlp" not in offer.kernels
    assert "qkv" in offer.kernels
    assert offer.attention[-1] == "sdpa"
    assert not list(tmp_path.iterdir())


@pytest.mark.long
def test_the_reasons_come_from_a_process_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(offers.attention, "installed", lambda: ("sdpa",))
    offer = offers.find(CARD, tmp_path)
    assert (offer.attention, offer.kernels) == (("sdpa",), ())
    assert all(isinstance(value, str) for value in offer.times.values())
