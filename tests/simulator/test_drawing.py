"""Every landscape that is drawn has something to gain, whatever the family and the seed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research.simulator.families import FAMILIES
from research.simulator.landscape import Landscape
from research.simulator.sampling import draw_landscape

HOPELESS = (("separable", 70152), ("misjudged", 70423))
"""Arguments whose first draw has every knob tuned and every other idea harmful."""


def is_worth_a_night(landscape: Landscape) -> bool:
    """Whether the family's promised gain can be reached, to the rounding of what a descent counts as a step."""
    low, high = landscape.family.total_bpb
    return 0.9 * low <= landscape.reachable() <= 1.1 * high


@settings(max_examples=300)
@given(st.sampled_from(sorted(FAMILIES)), st.integers(0, 10**6))
def test_there_is_something_to_gain(family: str, seed: int):
    assert is_worth_a_night(draw_landscape(family, seed))


@pytest.mark.parametrize(("family", "seed"), HOPELESS)
def test_what_was_hopeless_is_drawn_again_and_stays_its_seed_s(family: str, seed: int):
    landscape = draw_landscape(family, seed)
    assert is_worth_a_night(landscape)
    assert landscape == draw_landscape(family, seed)
    assert landscape.seed == seed


def test_a_family_with_nothing_to_gain_is_refused():
    nothing = replace(FAMILIES["separable"], headroom_gb=(-100.0, -100.0))  # every change runs out of memory
    with pytest.raises(ValueError, match="nothing to gain"):
        draw_landscape(nothing, 1)
