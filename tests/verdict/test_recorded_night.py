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


def test_what_helped_goes_on_and_what_harmed_is_left():
    """Each change after its one run, on seed 42."""
    night = based()
    values, found = {"base": BASE[42]}, {}
    for change, parent, effect in CHANGES:
        values[change] = values[parent] + effect
        found[change] = night.run(change, values[change], parent, seed=42).decision
    assert found["DEPTH 4"] == "keep"
    for change in ("X0_BETAS 0.931", "both of the first two"):
        assert found[change] in ("replicate", "keep")
    for change in ("X0_BETAS 0.969", "SHORT_WINDOW 2", "X0_INIT 0.063"):
        assert found[change] == "discard"


def test_a_change_that_does_nothing_is_decided_after_two_seeds():
    night = based()
    night.run("nothing", BASE[42] - 0.0004, "base", seed=42)
    assert night.run("nothing", BASE[43] + 0.0001, "base", seed=43).decision == "discard"


def based() -> Night:
    """Return a night whose baseline has both of its runs."""
    night = Night()
    for seed, value in BASE.items():
        night.run("base", value, seed=seed)
    return night
