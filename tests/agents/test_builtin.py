"""The built-in agent: every proposal is one idea that parses, is new, and can run."""

from __future__ import annotations

import ast
import difflib
import random

import pytest

from research.agents.builtin import NothingToPropose
from research.agents.builtin.constraints import broken_by, violations
from research.agents.builtin.context import Bench
from research.agents.builtin.evaluate import constants_in_force
from research.agents.builtin.knobs import knobs
from research.agents.builtin.merging import Conflict, merged
from research.agents.builtin.removals import removal_ideas
from research.agents.builtin.sampling import draw
from research.agents.builtin.text import Text, statements
from research.code import diff
from research.code.fingerprint import fingerprint
from research.core.records import Plan
from research.search.emitters import EMITTERS
from tests.support.purenight import OURS, PUBLIC, PureNight

KINDS = (None, *EMITTERS)


def experiment(night: PureNight, emitter: str | None, number: int = 0, category=None, memory=None) -> Plan:
    memory = memory or night.memory()
    details = dict(EMITTERS[emitter].details(memory)) if emitter else {}
    parent = memory.incumbent.commit if memory.incumbent else night.first
    return Plan(f"plan{number}", "", emitter, category, parent, "experiment", "A test.", details=details)


def some_night(path, runs: int = 26) -> PureNight:
    """A night with baseline runs and one experiment of everybody in turn."""
    night = PureNight(seed=7, base=path.read_bytes(), crash_share=0.2)
    night.run(night.first, "base", "", None)
    night.run(night.first, "base", "", None)
    for number in range(400):
        emitter = KINDS[number % len(KINDS)]
        if len(night.history) >= runs:
            break
        if emitter and EMITTERS[emitter].ready(night.memory()):
            continue
        try:
            night.carry_out(experiment(night, emitter, number))
        except NothingToPropose:
            continue
    return night


@pytest.fixture(scope="module", params=[OURS, PUBLIC], ids=["ours", "public"])
def night(request) -> PureNight:
    return some_night(request.param)


def test_a_hundred_proposals_are_new_sound_and_one_idea_each(night: PureNight):
    memory = night.memory()
    made: dict[str | None, int] = {}
    for number in range(48):  # for each of two texts
        emitter = KINDS[number % len(KINDS)]
        plan = experiment(night, emitter, number, random.Random(number).choice([None, "optimizer"]), memory)
        try:
            proposal = night.propose(plan, memory)
        except NothingToPropose:
            continue
        made[emitter] = made.get(emitter, 0) + 1
        before = night.sources[proposal.parent]
        mark = fingerprint(proposal.text)
        assert mark != fingerprint(before)
        assert mark not in memory.fingerprints
        assert not broken_by(ast.parse(before), ast.parse(proposal.text), "pocket")
        assert proposal.subject.startswith("exp: ")
        assert len(proposal.subject) <= 100
        assert (f"[emitter={emitter}]" in proposal.subject) == (emitter is not None)
        delta = diff.between(before, proposal.text).delta()
        if emitter in ("local_tuner", "optimizer_hacker", "architecture_mutator", "contrarian"):
            constants = [name for name in delta if name.isupper()]
            assert len(constants) <= 1, (proposal.subject, delta)
    needed = {None, "local_tuner", "optimizer_hacker", "architecture_mutator", "simplifier", "contrarian"}
    assert needed <= set(made), made


def test_the_same_seed_makes_the_same_proposal_and_another_another(night: PureNight):
    memory = night.memory()
    plan = experiment(night, "optimizer_hacker")
    once, again = night.propose(plan, memory), night.propose(plan, memory)
    assert once == again
    others = set()
    for seed in range(8):
        night.seed = seed
        others.add(night.propose(plan, memory).text)
    night.seed = 7
    assert len(others) > 3


@pytest.mark.parametrize("path", [OURS, PUBLIC], ids=["ours", "public"])
def test_a_number_changes_one_line_and_keeps_its_comment(path):
    text = Text(path.read_bytes())
    known = constants_in_force(text.tree, "pocket")
    found = list(knobs(text, known))
    assert len(found) > 12
    for knob in found:
        for value in draw(knob, (), known, 3.0, random.Random(3)):
            new = Text(_replaced(text, knob, knob.spell(value)))
            lines = list(difflib.unified_diff(_lines(text), _lines(new), n=0, lineterm=""))[3:]
            assert len(lines) == 2
            before, after = lines[0][1:], lines[1][1:]
            assert before.partition("#")[2] == after.partition("#")[2]


def _lines(text: Text) -> list[str]:
    return text.content.decode().splitlines()


def _replaced(text: Text, knob, spelled: str) -> bytes:
    splice = knob.splice(text, spelled)
    return text.content[: splice.start] + splice.new + text.content[splice.end :]


def test_only_the_arm_of_the_profile_that_runs_is_changed():
    text = Text(OURS.read_bytes())
    for profile, kept in (("pocket", "7 if OFFICIAL else"), ("official", "if OFFICIAL else 4")):
        knob = next(k for k in knobs(text, constants_in_force(text.tree, profile)) if k.name == "DEPTH")
        assert kept in _replaced(text, knob, "6").decode()


def test_the_machine_and_the_contract_are_left_alone():
    text = Text(OURS.read_bytes())
    names = {knob.constant for knob in knobs(text, constants_in_force(text.tree, "official"))}
    assert not names & {"UNCOUNTED_STEPS", "FA3_REVISION", "COMPILE", "FUSED", "DTYPE", "HEADS", "SCALE", "T"}
    assert {"TOTAL_BATCH_SIZE", "DEVICE_BATCH_SIZE", "WIDTH", "ADAM_BETAS", "SHORT_WINDOW"} <= names


def test_values_that_lost_pull_the_sampler_away():
    night = PureNight()
    night.run(night.first, "base", "", None)
    for value in ("0.08", "0.07", "0.06", "0.09", "0.1"):
        text = night.changed("MATRIX_LR = 0.03", f"MATRIX_LR = {value}")
        night.run(night.commit(text), f"exp: MATRIX_LR 0.03 -> {value}", night.first, None)
    text = Text(night.base)
    known = constants_in_force(text.tree, "pocket")
    knob = next(k for k in knobs(text, known) if k.name == "MATRIX_LR")
    trials = night.memory().tried["MATRIX_LR"]
    drawn = [next(draw(knob, trials, known, 3.0, random.Random(seed))) for seed in range(20)]
    assert sum(value < 0.05 for value in drawn) > 13


@pytest.mark.parametrize("path", [OURS, PUBLIC], ids=["ours", "public"])
def test_removals_leave_less_and_nothing_idle(path):
    night = PureNight(base=path.read_bytes())
    text = Text(night.base)
    bench = Bench(experiment(night, "simplifier"), night.memory(), night.read_source, night.first, text, "pocket")
    ideas = removal_ideas(bench)
    assert len(ideas) >= 4
    for idea in ideas:
        for draft in idea.drafts(random.Random(0)):
            tree = ast.parse(draft.content)
            assert statements(tree) <= statements(text.tree)
            assert len(draft.content) < len(text.content)
            assert not violations(tree, "pocket")


def test_nothing_is_proposed_twice_and_the_end_is_said():
    night = PureNight(crash_share=0.0)
    night.run(night.first, "base", "", None)
    seen = {fingerprint(night.base)}
    said = ""
    while not said:
        plan = Plan(f"p{len(seen)}", "", "simplifier", None, night.first, "experiment", "A test.")
        try:
            proposal = night.propose(plan)
        except NothingToPropose as nothing:
            said = str(nothing)
            continue
        mark = fingerprint(proposal.text)
        assert mark not in seen
        seen.add(mark)
        night.run(night.commit(proposal.text), proposal.subject, night.first, "simplifier")
    assert "measured already" in said
    assert len(seen) > 12


def test_two_near_misses_are_combined_into_one_change():
    night = PureNight(crash_share=0.0, noise=0.0)
    night.run(night.first, "base", "", None)
    night.run(night.first, "base", "", None)
    for old, new in (("SCALAR_LR = 0.5", "SCALAR_LR = 0.4"), ("ROPE_BASE = 200_000", "ROPE_BASE = 100_000")):
        night.run(night.commit(night.changed(old, new)), f"exp: {new}", night.first, None)
    proposal = night.propose(experiment(night, "recombinator")) if len(night.memory().near_misses) == 2 else None
    if proposal is None:
        pytest.skip("the judge took these for clear losses")
    assert set(diff.between(night.base, proposal.text).delta()) == {"SCALAR_LR", "ROPE_BASE"}


def test_merging_keeps_both_and_refuses_the_same_line():
    base = b"a = 1\nb = 2\nc = 3\n"
    assert merged(base, b"a = 9\nb = 2\nc = 3\n", b"a = 1\nb = 8\nc = 3\n") == b"a = 9\nb = 8\nc = 3\n"
    assert merged(base, b"a = 9\nb = 2\nc = 3\n", b"a = 9\nb = 2\n") == b"a = 9\nb = 2\n"
    with pytest.raises(Conflict):
        merged(base, b"a = 9\nb = 2\nc = 3\n", b"a = 7\nb = 2\nc = 3\n")


def test_a_replicate_is_no_proposal_and_a_missing_parent_is_said():
    night = PureNight()
    plan = experiment(night, None)
    with pytest.raises(NothingToPropose, match="run, not proposed"):
        night.propose(Plan("x", "", None, None, night.first, "replicate", "A test."))
    with pytest.raises(NothingToPropose, match="there is no train"):
        night.propose(Plan("x", "", None, None, "0" * 40, "experiment", "A test."))
    night.sources[night.first] = b"x = ("
    with pytest.raises(NothingToPropose, match="does not parse"):
        night.propose(plan)
