"""A night that was measured on two H200 is judged again: what helped goes on, what harmed is left.

Nine changes at 60 s; what each scored against the run that it was made from, on the same seed.
"""

from __future__ import annotations

from support.judgekit import Night

BASE = {42: 0.966746, 43: 0.960296}
CHANGES = (
    ("head sd 0.00125", "base", 0.0003),
    ("X0_BETAS 0.931", "base", -0.0014),
    ("X0_BETAS 0.969", "base", 0.0010),
    ("both of the first two", "base", -0.0008),
    ("DEPTH 4", "base", -0.0117),
    ("X0_INIT 0.063", "base", 0.0006),
    ("EMBEDDING_WD 0.00057", "DEPTH 4", -0.0004),
    ("SHORT_WINDOW 2", "base", 0.0022),
    ("EMBEDDING_LR 0.44", "base", 0.0003),
)


def judged() -> dict[str, str]:
    """What the rule decided about each change after its one run."""
    night = Night()
    for seed, value in BASE.items():
        night.run("base", value, seed=seed, contract="official-0")
    values = {"base": BASE[42]}
    found = {}
    for change, parent, effect in CHANGES:
        values[change] = values[parent] + effect
        found[change] = night.run(change, values[change], parent, seed=42, contract="official-0").decision
    return found


def test_the_large_gain_is_kept_at_once():
    assert judged()["DEPTH 4"] == "keep"


def test_what_was_better_on_its_seed_is_asked_for_another_or_kept():
    decisions = judged()
    assert decisions["X0_BETAS 0.931"] in ("replicate", "keep")
    assert decisions["both of the first two"] in ("replicate", "keep")


def test_what_was_worse_on_its_seed_is_discarded():
    decisions = judged()
    for change in ("X0_BETAS 0.969", "SHORT_WINDOW 2", "X0_INIT 0.063"):
        assert decisions[change] == "discard"


def test_a_change_that_does_nothing_is_decided_after_two_seeds():
    night = Night()
    for seed, value in BASE.items():
        night.run("base", value, seed=seed, contract="official-0")
    decisions = [
        night.run("nothing", BASE[seed] + gap, "base", seed=seed, contract="official-0").decision
        for seed, gap in ((42, -0.0004), (43, 0.0001))
    ]
    assert decisions[-1] == "discard"
