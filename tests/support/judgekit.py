"""A night on paper: runs judged one after the other, with what each verdict means for the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from research.core.contract import DEFAULT_SEED
from research.core.records import Decision, Failure, Judged, Run, Verdict
from research.core.settings import SETTINGS
from research.verdict import lineage
from research.verdict.comparison import Comparison, compare
from research.verdict.consequences import consequences
from research.verdict.judge import judge as by_evidence

NOW = "2026-01-02T03:04:05Z"
CRASH = Failure("shape", "RuntimeError: sizes differ", "RuntimeError: sizes differ")
PROBE = Failure("probe", "probe", "a probe of the score failed")
SEED_43 = 0.004
"""How much lower seed 43 scores than seed 42, in bpb: as on two GPUs in nights of 60 s."""


class Night:
    """Runs judged one after the other; commits are their own fingerprints.

    Args:
        judge: The rule.

    Attributes:
        history: The judged runs.
        cases: What each run was compared with when it was judged.
    """

    def __init__(self, judge: Callable[[Comparison, str], Verdict] = by_evidence) -> None:
        self.judge = judge
        self.history: list[Judged] = []
        self.cases: list[Comparison] = []
        self.order = 0

    def run(self, commit: str, val_bpb: float | None, parent: str = "", **more: object) -> Verdict:
        """Judge one run; None is a crash. Each run of a commit takes the next seed, from 42, if none is named."""
        earlier = sum(item.run.commit == commit for item in self.history)
        run = Run(
            run=f"r{len(self.history)}", folder="", origin="runner", branch="b", commit=commit, started_utc=NOW,
            parent=parent, contract="official-0", outcome="scored" if val_bpb else "crash", val_bpb=val_bpb,
            fingerprint=commit, subject=f"exp: {commit}", failure=None if val_bpb else CRASH, peak_vram_mb=2048.0,
            seed=DEFAULT_SEED + earlier,
        )  # fmt: skip
        case = compare(replace(run, **more), self.history)
        verdict = self.judge(case, NOW)
        self.order += 1
        self.history.append(Judged(case.run, verdict, self.order))
        self.cases.append(case)
        for other in consequences(case, verdict):
            self.overrule(other)
        return verdict

    def both(self, commit: str, val_bpb: float, parent: str = "", **more: object) -> Verdict:
        """Judge a run on seed 42 and one on seed 43, which scores lower for every configuration."""
        self.run(commit, val_bpb, parent, seed=DEFAULT_SEED, **more)
        return self.run(commit, val_bpb - SEED_43, parent, seed=DEFAULT_SEED + 1, **more)

    def overrule(self, verdict: Verdict) -> None:
        """Put a later verdict on an earlier run."""
        place = next(n for n, item in enumerate(self.history) if item.run.run == verdict.run)
        item = self.history[place]
        self.order += 1
        earlier = (*item.earlier, (item.order, item.verdict.decision))
        self.history[place] = Judged(item.run, verdict, self.order, earlier)

    def person(self, place: int, decision: Decision) -> None:
        """Let a person decide about a run."""
        known = self.history[place].verdict
        self.overrule(replace(known, decision=decision, rule="person"))

    def decisions(self) -> list[str]:
        """Return what holds for each run."""
        return [item.verdict.decision for item in self.history if item.verdict]

    def tip(self) -> str:
        """Return the commit that the branch is on."""
        incumbent = lineage.incumbent(self.history)
        return incumbent.commit if incumbent else ""


def near() -> float:
    """Return a score on the baseline's seed that another seed must decide about, whatever the thresholds are."""
    middle = 0.5 * (SETTINGS.confirm_p + SETTINGS.sure_p)
    found: dict[float, float] = {}
    for step in range(1, 40):
        night = Night()
        night.run("a", 0.99)
        night.run("a", 0.99)
        verdict = night.run("b", 0.99 - 0.001 * step, "a")
        if verdict.decision == "replicate":
            found[abs(verdict.p_better - middle)] = 0.99 - 0.001 * step
    return found[min(found)]
