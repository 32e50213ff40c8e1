"""The plain rule and the fold that says where a branch stands."""

from __future__ import annotations

from dataclasses import replace

from research.core.records import Judged, Run, Verdict
from research.verdict import greedy, lineage

NOW = "2026-01-02T03:04:05Z"


class Night:
    """Runs judged one after the other."""

    def __init__(self) -> None:
        self.history: list[Judged] = []

    def run(self, commit: str, val_bpb: float | None, **more: object) -> Verdict:
        """Judges one run."""
        run = Run(
            run=f"r{len(self.history)}", folder="", origin="runner", branch="b", commit=commit, started_utc=NOW,
            contract="pocket-0", outcome="scored" if val_bpb else "crash", val_bpb=val_bpb, fingerprint=commit,
        )  # fmt: skip
        run = replace(run, **more)  # type: ignore[arg-type]
        verdict = greedy(run, self.history, NOW)
        self.history.append(Judged(run, verdict, len(self.history) + 1))
        return verdict

    def decide(self, place: int, decision: str) -> None:
        """Overrules a verdict."""
        item = self.history[place]
        assert item.verdict is not None
        verdict = replace(item.verdict, decision=decision)  # type: ignore[arg-type]
        earlier = (*item.earlier, (item.order, item.verdict.decision))
        latest = max(max(other.order for other in self.history), 100)
        self.history[place] = Judged(item.run, verdict, latest + 1, earlier)

    def tip(self) -> str:
        """Where the branch stands."""
        standing = lineage.incumbent(self.history)
        return standing.commit if standing else ""


def test_baseline_then_lower_keeps():
    night = Night()
    first = night.run("a", 1.0)
    assert (first.decision, first.baseline) == ("keep", True)
    assert [night.run(c, v).decision for c, v in (("b", 1.0), ("c", 0.999999), ("d", 1.1))] == [
        "discard", "keep", "discard",
    ]  # fmt: skip
    assert night.tip() == "c"
    assert night.history[3].verdict.incumbent == "c"  # type: ignore[union-attr]
    assert sum(bool(item.verdict and item.verdict.baseline) for item in night.history) == 1


def test_a_crash_before_the_baseline_is_no_baseline():
    night = Night()
    assert night.run("a", None).decision == "discard"
    assert night.run("b", 1.0).baseline


def test_contracts_and_branches_do_not_meet():
    night = Night()
    night.run("a", 1.0)
    assert night.run("b", 2.0, contract="official-0").baseline
    assert night.run("c", 3.0, branch="other").baseline


def test_suspect_runs_are_never_kept():
    night = Night()
    assert night.run("a", 1.0, suspect=("x",)).decision == "discard"
    assert night.run("b", 1.0).baseline
    assert night.run("c", 0.5, suspect=("x",)).decision == "discard"


def test_replicates_count_by_their_mean():
    night = Night()
    night.run("a", 1.0)
    night.run("b", 0.99)
    assert night.run("b", 1.03).decision == "keep"  # it stays where it is ...
    assert night.run("c", 1.0).decision == "keep"  # ... but 1.01 is what has to be beaten
    assert night.run("a", 0.9).decision == "keep"  # mean 0.95


def test_a_discarded_replicate_of_an_older_one_takes_nothing_away():
    night = Night()
    night.run("a", 1.0)
    night.run("b", 0.9)
    assert night.run("a", 1.0).decision == "discard"
    assert night.tip() == "b"
    night.decide(1, "discard")
    assert night.tip() == "a"


def test_a_person_can_put_an_older_one_back():
    night = Night()
    night.run("a", 1.0)
    night.run("b", 0.9)
    night.run("c", 0.95)
    night.decide(2, "keep")
    assert night.tip() == "c"
    night.decide(2, "discard")
    assert night.tip() == "b"
