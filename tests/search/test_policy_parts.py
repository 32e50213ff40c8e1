"""What the policies rest on: the bandit and the phases."""

from __future__ import annotations

import random
from dataclasses import replace

from research.core.settings import SETTINGS
from research.search.bandit import Bandit
from research.search.emitters import EMITTERS
from research.search.observation import Observation
from research.search.policies.discovery import Discovery

# The bandit -----------------------------------------------------------------------------------------------------


def test_an_even_spread_leaves_the_agent_free():
    bandit, rng = Bandit(EMITTERS, replace(SETTINGS, emitter_floor=0.0)), random.Random(0)
    for _ in range(60):
        bandit.add(None, 0.0001, 1.0)
    assert bandit.choose(rng)[0] is None


def test_a_proven_emitter_is_ordered_and_forgotten_when_it_fades():
    bandit, rng = Bandit(EMITTERS, replace(SETTINGS, emitter_floor=0.0)), random.Random(0)
    for index in range(60):
        name = ("simplifier", *EMITTERS)[index % 7]
        bandit.add(name, 0.002 if name == "simplifier" else 0.0, 1.0)
        bandit.add(None, 0.0001, 1.0)
    assert bandit.choose(rng)[0] == "simplifier"
    for _ in range(120):
        bandit.add("simplifier", 0.0, 1.0)
        bandit.add(None, 0.001, 1.0)
    assert bandit.choose(rng)[0] is None


def test_gains_too_small_for_a_quotient_are_none():
    bandit = Bandit(EMITTERS, replace(SETTINGS, emitter_floor=0.0))
    bandit.add("simplifier", 5e-324, 4.0)
    assert bandit.choose(random.Random(0))[0] is None


def test_every_emitter_stays_alive():
    bandit, rng = Bandit(EMITTERS), random.Random(0)
    for _ in range(200):
        bandit.add("contrarian", 0.0, 1.0)
        bandit.add(None, 0.001, 1.0)
    ordered = set()
    for _ in range(400):
        emitter, _ = bandit.choose(rng)
        ordered.add(emitter)
        bandit.add(emitter, 0.0, 1.0)
    assert ordered >= set(EMITTERS)


# Phases ---------------------------------------------------------------------------------------------------------


def policy_after(*scores: float | None) -> Discovery:
    """Return the policy of a night whose changes to a baseline of 0.99 came to these scores; 0.003 less is kept."""
    policy = Discovery(0)
    policy.start(Observation(0, "a", val_bpb=0.99, gpu_s=300.0))
    tip, best = "a", 0.99
    for number, score in enumerate(scores, 1):
        kept = score is not None and score <= best - 0.003
        crash = "boom" if score is None else None
        result = Observation(number, f"b{number}", tip, val_bpb=score, crash=crash, gpu_s=300.0)
        policy.note(result, "keep" if kept else "discard")
        if kept and score is not None:
            tip, best = f"b{number}", score
    return policy


def test_phases_follow_the_night():
    assert policy_after().phase == "explore"
    assert policy_after(0.987, 0.99, 0.983).phase == "exploit"
    assert policy_after(0.987, None, 0.99, None).phase == "stabilize"
    assert policy_after(0.987, *[0.9868] * 2, *[1.0] * SETTINGS.recombine_stall).phase == "recombine"
    assert policy_after(0.987, *[1.0] * SETTINGS.recombine_stall).phase == "explore"


def test_recombining_ends_when_near_misses_are_used_up_or_old():
    stalled = [0.9898] * 2 + [1.0] * SETTINGS.recombine_stall
    policy = policy_after(*stalled)
    assert policy.phase == "recombine"
    policy.note(Observation(99, "pair", "a", "recombinator", val_bpb=1.0, gpu_s=300.0), "discard")
    assert policy.phase == "explore"
    assert policy_after(*stalled, *[1.0] * SETTINGS.near_miss_age).phase == "explore"
