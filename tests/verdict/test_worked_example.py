"""docs/how-it-decides.md says what the code does: its settings, its example, its arithmetic."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from statistics import fmean

from research.core.settings import SETTINGS
from research.core.text import listed
from research.verdict.belief import Belief, Score
from research.verdict.rule import weigh
from research.verdict.score import ScoreInputs, score
from research.verdict.variances import Condition

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "how-it-decides.md").read_text()
SEEDS = (42, 43, 44, 45)
MEASURED = {
    "as shipped": {
        42: (0.966746, 0.966984, 0.967015),
        43: (0.960296, 0.960558),
        44: (0.958952, 0.959397),
        45: (0.966255, 0.966887),
    },
    "MATRIX_LR 0.04": {42: (0.964864,), 43: (0.960894,), 44: (0.959013,), 45: (0.966157,)},
    "X0_BETAS 0.931": {42: (0.966159, 0.965938), 43: (0.960827,), 44: (0.959993,), 45: (0.966164,)},
}
"""val_bpb by change and seed: 60 s on two H200, as docs/history/benchmark-log.md lists it."""
BASE, *CHANGES = MEASURED


def belief_after(seeds: tuple[int, ...]) -> Belief:
    """The posterior of all runs of these seeds."""
    return Belief(
        Score(change, None if change == BASE else BASE, Condition(seed), value)
        for change, scores in MEASURED.items()
        for seed in seeds
        for value in scores[seed]
    )


def example() -> str:
    """The table of the page, recomputed."""
    heads = ("change", "after", "as measured", "difference", "P(better)", "decision")
    rows = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for change in CHANGES:
        for seeds in ((42,), (42, 43), SEEDS):
            belief = belief_after(seeds)
            raw = fmean(fmean(MEASURED[change][seed]) - fmean(MEASURED[BASE][seed]) for seed in seeds)
            found = weigh(belief, change, BASE)
            known = found.difference
            change_in_words = f"{known.mean:+.4f} [{known.low:+.4f}, {known.high:+.4f}]"
            cells = (f"`{change}`", listed("seed", seeds), f"{raw:+.4f}", change_in_words, f"{found.p_better:.2f}")
            rows.append(f"| {' | '.join(cells)} | {found.decision} |")
    spread = belief_after(SEEDS).variances.noise
    rows += ["", "What these runs say of the three standard deviations:", ""]
    for name, one in (("repeat", spread.repeat), ("seed", spread.seed), ("interaction", spread.interaction)):
        rows.append(f"{name}: {one.sd:.5f} [{one.low:.5f}, {one.high:.5f}]  ")
    return "\n".join(rows)


def test_the_example_is_what_the_code_says():
    shown = PAGE.split("<!-- example -->\n")[1].split("\n<!-- /example -->")[0]
    assert shown == example().rstrip(), f"the page should say:\n{example()}"


def test_the_settings_are_those_in_use():
    known = asdict(SETTINGS)
    table = dict(re.findall(r"^\| `(\w+)` \| ([\d.]+) \| [^|]+ \|$", PAGE, re.MULTILINE))
    assert table == {name: str(known[name]) for name in table}
    named = set(re.findall(r"`(\w+_\w+)`", PAGE)) - {"MATRIX_LR", "X0_BETAS"}
    assert named <= known.keys()
    assert named == table.keys(), f"the table of settings and the text name different ones: {named ^ table.keys()}"


def test_the_arithmetic_by_hand():
    """What the page works out of its first line: the gap of seed 42 and what it scatters by."""
    gap = MEASURED["MATRIX_LR 0.04"][42][0] - fmean(MEASURED[BASE][42])
    repeat, interaction = SETTINGS.repeat_sd_bpb, SETTINGS.interaction_sd_bpb
    paired = (interaction**2 + repeat**2 * (1 + 1 / 3)) ** 0.5
    unpaired = (2 * SETTINGS.seed_sd_bpb**2 + paired**2) ** 0.5
    for number in (f"{gap:.4f}".replace("-", "−"), f"{paired:.4f}", f"{unpaired:.4f}"):
        assert number in PAGE


def test_the_score_is_as_described():
    first = score(ScoreInputs(True, gain=0.001, stall=4, kept=True, predicted="risky", statements_added=1))
    assert list(first.values()) == [0.1, 0.65, 0.35, 0.2, 0.02, 0.0, 1.28]
    assert score(ScoreInputs(True, statements_removed=300))["complexity"] == -0.1
