"""A night on paper: runs judged one after the other, with what each verdict means for the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from research.core.records import Decision, Failure, Judged, Run, Verdict
from research.verdict import by_evidence, lineage
from research.verdict.consequences import consequences

NOW = "2026-01-02T03:04:05Z"
CRASH = Failure("shape", "RuntimeError: sizes differ", "RuntimeError: sizes differ")
PROBE = Failure("probe", "probe", "a probe of the score failed")


class Night:
    """Runs judged one after the other; commits are their own fingerprints.

    Args:
        judge: The rule.
    """

    def __init__(self, judge: Callable[[Run, Sequence[Judged], str], Verdict] = by_evidence) -> None:
        self.judge = judge
        self.history: list[Judged] = []
        self.order = 0

    def run(self, commit: str, val_bpb: float | None, parent: str = "", **more: object) -> Verdict:
        """Judges one run; None is a crash."""
        run = Run(
            run=f"r{len(self.history)}", folder="", origin="runner", branch="b", commit=commit, started_utc=NOW,
            parent=parent, contract="pocket-0", outcome="scored" if val_bpb else "crash", val_bpb=val_bpb,
            fingerprint=commit, subject=f"exp: {commit}", failure=None if val_bpb else CRASH, peak_vram_mb=2048.0,
        )  # fmt: skip
        run = replace(run, **more)  # type: ignore[arg-type]
        before = list(self.history)
        verdict = self.judge(run, before, NOW)
        self.order += 1
        self.history.append(Judged(run, verdict, self.order))
        for other in consequences(run, verdict, before):
            self.overrule(other)
        return verdict

    def overrule(self, verdict: Verdict) -> None:
        """Puts a later verdict on an earlier run."""
        place = next(n for n, item in enumerate(self.history) if item.run.run == verdict.run)
        item = self.history[place]
        assert item.verdict is not None
        self.order += 1
        earlier = (*item.earlier, (item.order, item.verdict.decision))
        self.history[place] = Judged(item.run, verdict, self.order, earlier)

    def person(self, place: int, decision: Decision) -> None:
        """A person's word on a run."""
        known = self.history[place].verdict
        assert known is not None
        self.overrule(replace(known, decision=decision, rule="person"))

    def decisions(self) -> list[str]:
        """What holds for each run."""
        return [item.verdict.decision for item in self.history if item.verdict]

    def tip(self) -> str:
        """Where the branch stands."""
        standing = lineage.incumbent(self.history)
        return standing.commit if standing else ""
