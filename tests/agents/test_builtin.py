"""The built-in agent: every proposal is one idea that parses, is new, and can run."""

from __future__ import annotations

import difflib
import random
from itertools import islice

import pytest

from research.agents.builtin import NothingToPropose
from research.agents.builtin.constraints import new_violations
from research.agents.builtin.hyperparameters import hyperparameters, sample
from research.agents.builtin.proposal import EditContext, choice_ideas, half_ideas, merge, off_ideas
from research.agents.builtin.source import Source
from research.code import diff
from research.code.fingerprint import fingerprint
from research.core.records import Plan
from research.search.emitters import EMITTERS
from tests.support.purenight import OURS, PUBLIC, PureNight

KINDS = (None, *EMITTERS)

OTHER = b"""
OFFICIAL = PROFILE.name == "official"
N_EMBD = 384
N_HEAD = 6
N_LAYER = 6 if OFFICIAL else 3
ACTIVATION = 'relu'  # relu, gelu or silu; squared afterwards
POSITIONS = "rotary" if OFFICIAL else "none"  # rotary|alibi|none
NAME = "first"  # the model's name
TIED = True
LOOPS = 2  # passes over the same layers
RAMP = (0.9, 0.99)  # from, to
if LOOPS and TIED:
    print(N_EMBD, N_HEAD, N_LAYER, ACTIVATION == "swish", POSITIONS, NAME, RAMP)
"""
"""A file that has nothing in common with ours but named constants."""


def experiment(night: PureNight, emitter: str | None, number: int = 0, category=None, memory=None) -> Plan:
    memory = memory or night.memory()
    parent = memory.incumbent.commit if memory.incumbent else night.first
    return Plan(f"plan{number}", "", emitter, category, parent, "experiment", "A test.")


def some_night(path, runs: int = 26) -> PureNight:
    """A night with baseline runs and one experiment of everybody in turn."""
    night = PureNight(seed=7, base=path.read_bytes(), crash_share=0.2)
    night.run(night.first, "base", "", None)
    night.run(night.first, "base", "", None)
    for number in range(400):
        emitter = KINDS[number % len(KINDS)]
        if len(night.history) >= runs:
            break
        if emitter and EMITTERS[emitter].missing(night.memory()):
            continue
        try:
            night.carry_out(experiment(night, emitter, number))
        except NothingToPropose:
            continue
    return night


def context_of(night: PureNight) -> EditContext:
    """What a change of the night's first commit is made from."""
    return EditContext(night.memory(), night.read_source, Source(night.base, "pocket"), random.Random(0))


def drafts_of(ideas) -> list[str]:
    return sorted(draft.what for idea in ideas for draft in idea.drafts)


@pytest.fixture(scope="module", params=[OURS, PUBLIC], ids=["ours", "public"])
def night(request) -> PureNight:
    return some_night(request.param)


@pytest.mark.xdist_group("builtin")
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
        assert not new_violations(Source(before, "pocket"), Source(proposal.text, "pocket"))
        assert proposal.subject.startswith("exp: ")
        assert len(proposal.subject) <= 100
        assert (f"[emitter={emitter}]" in proposal.subject) == (emitter is not None)
        delta = diff.change_between(before, proposal.text).delta
        if emitter not in ("recombinator", "anomaly_chaser"):
            assert len(delta) == 1, (proposal.subject, delta)
    earlier = {item.run.emitter for item in night.history}  # an emitter may have made all that it can
    assert {None, "local_tuner", "optimizer_hacker", "architecture_mutator", "simplifier", "contrarian"} <= (
        set(made) | earlier
    )


@pytest.mark.xdist_group("builtin")
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
    source = Source(path.read_bytes(), "pocket")
    numbers = hyperparameters(source)
    assert len(numbers) > 12
    for number in numbers:
        for value in islice(sample(number, (), source.values, 3.0, random.Random(3)), 2):
            new = source.replace(number.node, number.format(value))
            texts = (content.decode().splitlines() for content in (source.content, new))
            lines = list(difflib.unified_diff(*texts, n=0, lineterm=""))[3:]
            assert len(lines) == 2
            before, after = lines[0][1:], lines[1][1:]
            assert before.partition("#")[2] == after.partition("#")[2]


def test_only_the_arm_of_the_profile_that_runs_is_changed():
    for profile, kept in (("pocket", "7 if OFFICIAL else 6"), ("official", "6 if OFFICIAL else 4")):
        source = Source(OURS.read_bytes(), profile)
        depth = next(number for number in hyperparameters(source) if number.name == "DEPTH")
        assert f"DEPTH = {kept}" in source.replace(depth.node, "6").decode()


def test_the_machine_and_the_contract_are_left_alone():
    names = {setting.name for setting in Source(OURS.read_bytes(), "official").settings}
    assert not names & {"ATTENTION", "UNCOUNTED_STEPS", "FA3_REVISION", "COMPILE", "FUSED", "DTYPE", "HEADS", "T"}
    assert {"TOTAL_BATCH_SIZE", "DEVICE_BATCH_SIZE", "WIDTH", "ADAM_BETAS", "SHORT_WINDOW", "NORM"} <= names


def test_values_that_lost_pull_the_sampler_away():
    night = PureNight()
    night.run(night.first, "base", "", None)
    for value in ("0.08", "0.07", "0.06", "0.09", "0.1"):
        text = night.changed("MATRIX_LR = 0.03", f"MATRIX_LR = {value}")
        night.run(night.commit(text), f"exp: MATRIX_LR 0.03 -> {value}", night.first, None)
    source = Source(night.base, "pocket")
    number = next(number for number in hyperparameters(source) if number.name == "MATRIX_LR")
    trials = night.memory().tried["MATRIX_LR"]
    drawn = [next(sample(number, trials, source.values, 3.0, random.Random(seed))) for seed in range(20)]
    assert sum(value < 0.05 for value in drawn) > 13


# Any file of named constants --------------------------------------------------------------------------------------


def test_choices_are_those_that_the_code_or_a_comment_names():
    found = drafts_of(choice_ideas(context_of(PureNight(base=OTHER))))
    assert found == [
        "ACTIVATION 'relu' -> gelu", "ACTIVATION 'relu' -> silu", "ACTIVATION 'relu' -> swish",
        "POSITIONS none -> alibi", "POSITIONS none -> rotary", "TIED True -> False",
    ]  # fmt: skip


def test_what_the_code_can_do_without_is_switched_off_and_sizes_become_smaller():
    found = drafts_of(off_ideas(context_of(PureNight(base=OTHER))))
    assert found == [
        "LOOPS 2 -> 0", "LOOPS 2 -> 1 (smaller)", "N_EMBD 384 -> 300 (smaller)",
        "N_LAYER 3 -> 2 (smaller)", "TIED True -> False",
    ]  # fmt: skip


@pytest.mark.parametrize("path", [OURS, PUBLIC], ids=["ours", "public"])
def test_every_part_that_is_switched_off_is_one_setting(path):
    night = PureNight(base=path.read_bytes())
    names = set()
    for idea in off_ideas(context_of(night)):
        for draft in idea.drafts:
            assert list(diff.change_between(night.base, draft.content).delta) == [idea.name]
            names.add(idea.name)
            assert not new_violations(Source(night.base, "pocket"), Source(draft.content, "pocket"))
    assert names >= ({"OUT_GATES", "FILTER", "PAIR_ROWS", "MATRIX_WD"} if path == OURS else {"WEIGHT_DECAY", "DEPTH"})


def test_any_file_of_named_constants_is_edited_within_its_constraints():
    night = PureNight(base=OTHER, crash_share=0.0)
    night.run(night.first, "base", "", None)
    texts = set()
    for number in range(40):
        emitter = (None, "local_tuner", "architecture_mutator", "simplifier")[number % 4]
        text = night.propose(experiment(night, emitter, number)).text
        values = Source(text, "pocket").values
        assert values["N_EMBD"] % values["N_HEAD"] == 0
        texts.add(text)
    assert len(texts) > 15


def test_nothing_is_proposed_twice_and_the_end_has_its_reason():
    night = PureNight(crash_share=0.0)
    night.run(night.first, "base", "", None)
    seen = {fingerprint(night.base)}
    end = ""
    while not end:
        plan = Plan(f"p{len(seen)}", "", "simplifier", None, night.first, "experiment", "A test.")
        try:
            proposal = night.propose(plan)
        except NothingToPropose as nothing:
            end = str(nothing)
            continue
        mark = fingerprint(proposal.text)
        assert mark not in seen
        seen.add(mark)
        night.run(night.commit(proposal.text), proposal.subject, night.first, "simplifier")
    assert "measured already" in end
    assert len(seen) > 12


# Recorded changes -------------------------------------------------------------------------------------------------


def test_two_near_misses_are_combined_into_one_change():
    night = PureNight(crash_share=0.0, noise=0.0)
    night.run(night.first, "base", "", None)
    night.run(night.first, "base", "", None)
    for old, new in (("MATRIX_WD = 0.2", "MATRIX_WD = 0.19"), ("UNEMBEDDING_LR = 0.005", "UNEMBEDDING_LR = 0.004")):
        night.run(night.commit(night.changed(old, new)), f"exp: {new}", night.first, None)
    proposal = night.propose(experiment(night, "recombinator")) if len(night.memory().near_misses) == 2 else None
    if proposal is None:
        pytest.skip("the judge took these for clear losses")
    assert set(diff.change_between(night.base, proposal.text).delta) == {"MATRIX_WD", "UNEMBEDDING_LR"}


def test_merging_keeps_changes_of_adjacent_lines_and_refuses_those_of_one_line():
    base = b"a = 1\nb = 2\nc = 3\nd = 4"
    assert merge(base, b"a = 9\nb = 2\nc = 3\nd = 4", b"a = 1\nb = 8\nc = 3\nd = 4") == b"a = 9\nb = 8\nc = 3\nd = 4"
    assert merge(base, b"a = 9\nb = 2\nc = 3\nd = 4", b"a = 9\nb = 2\nd = 4") == b"a = 9\nb = 2\nd = 4"
    assert merge(base, b"a = 9\nb = 2\nc = 3\nd = 4", b"a = 7\nb = 2\nc = 3\nd = 4") is None
    assert merge(None, base, base) is None


def crashed(base: bytes, changed: bytes) -> list[str]:
    """What is proposed after a change crashed."""
    night = PureNight(base=base, crash_share=0.0)
    night.run(night.first, "base", "", None)
    night.run(night.first, "base", "", None)
    night.crash_share = 1.0
    night.run(night.commit(changed), "exp: too far", night.first, None)
    return [what.split(" (half")[0] for what in drafts_of(half_ideas(context_of(night)))]


def test_what_crashed_is_done_by_half():
    assert crashed(OTHER, OTHER.replace(b"384", b"1536")) == ["N_EMBD 384 -> 768"]
    assert crashed(OTHER, OTHER.replace(b"LOOPS = 2", b"LOOPS = 0")) == ["LOOPS 2 -> 1"]
    both = OTHER.replace(b"384", b"1536").replace(b"LOOPS = 2", b"LOOPS = 0")
    assert crashed(OTHER, both) == ["LOOPS 2 -> 1", "N_EMBD 384 -> 768"], "either number by itself"


def test_a_replicate_is_no_proposal_and_a_missing_parent_is_named():
    night = PureNight()
    plan = experiment(night, None)
    with pytest.raises(NothingToPropose, match="run, not proposed"):
        night.propose(Plan("x", "", None, None, night.first, "replicate", "A test."))
    with pytest.raises(NothingToPropose, match="there is no train"):
        night.propose(Plan("x", "", None, None, "0" * 40, "experiment", "A test."))
    night.sources[night.first] = b"x = ("
    with pytest.raises(NothingToPropose, match="does not parse"):
        night.propose(plan)
