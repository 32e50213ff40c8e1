"""Says which configurations a branch was kept on, in order, and which is its incumbent: the fold of its verdicts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from research.core.records import Decision, Judged, Run


def is_evidence(run: Run) -> bool:
    """Return whether a run's score counts: measured by this lab, under a known contract, without a reason to doubt."""
    return run.outcome == "scored" and run.val_bpb is not None and not run.suspect and run.origin != "import"


def of_contract(history: Iterable[Judged], branch: str, contract: str | None) -> list[Judged]:
    """Return the judged runs of one branch under one contract."""
    return [item for item in history if item.run.branch == branch and item.run.contract == contract]


def contract_of(run: Run, history: Sequence[Judged]) -> str | None:
    """Return a run's contract; for one that came to no score, the contract that its branch was kept in last."""
    if run.contract is not None:
        return run.contract
    kept = [item for item in history if item.verdict and item.verdict.decision == "keep"]
    return max(kept, key=lambda item: item.order).run.contract if kept else None


def latest_contract(history: Sequence[Judged], branch: str) -> str | None:
    """Return the contract that a branch was kept in last, else the one it was measured in last."""
    mine = [item for item in history if item.run.branch == branch and item.run.contract is not None]
    kept = [item for item in mine if item.verdict and item.verdict.decision == "keep"]
    if kept:
        return max(kept, key=lambda item: item.order).run.contract
    return mine[-1].run.contract if mine else None


def incumbent(history: Sequence[Judged]) -> Run | None:
    """Return the run whose commit the branch is on: the latest kept one that was not discarded after."""
    kept = kept_chain(history)
    return kept[-1] if kept else None


def kept_chain(history: Sequence[Judged]) -> list[Run]:
    """Return the kept runs of a branch, one for each configuration, the incumbent's last.

    A discard of the incumbent puts back the one that was kept before it; a discard of an older one's replicate leaves
    the branch where it is; a run whose own keep is taken back no longer counts as kept.
    """
    decided = [(order, decision, item.run) for item in history for order, decision in _decisions(item)]
    kept: list[Run] = []
    for _, decision, run in sorted(decided, key=lambda entry: entry[0]):
        if decision == "keep":
            kept = [*(other for other in kept if other.commit != run.commit), run]
        elif decision == "discard" and _takes_away(run, kept):
            kept = [other for other in kept if other.commit != run.commit]
    return kept


def _takes_away(run: Run, kept: Sequence[Run]) -> bool:
    """Return whether a discarded run takes its configuration off the chain."""
    if any(other.run == run.run for other in kept):
        return True
    return bool(kept) and kept[-1].commit == run.commit and is_about_candidate(run)


def is_about_candidate(run: Run) -> bool:
    """Return whether how a run ended says something about its configuration: a score does, and a failed probe.

    A crash, a time limit or a score that disagrees with its log may be the machine's doing; one such replicate does
    not undo what other runs have shown.
    """
    if run.failure is not None and run.failure.kind == "probe":
        return True
    return run.outcome == "scored" and not run.suspect


def _decisions(item: Judged) -> tuple[tuple[int, Decision], ...]:
    """Return every decision about a run with its place in time."""
    return (*item.earlier, (item.order, item.verdict.decision)) if item.verdict else ()


def runs_since_keep(history: Sequence[Judged]) -> int:
    """Return how many runs came since the last one whose verdict is keep."""
    for count, item in enumerate(reversed(history)):
        if item.verdict is not None and item.verdict.decision == "keep":
            return count
    return len(history)


def baseline(history: Sequence[Judged]) -> Run | None:
    """Return the run that the branch began with."""
    return next((item.run for item in history if item.verdict and item.verdict.baseline), None)


def scores(history: Sequence[Judged], run: Run) -> list[float]:
    """Return every val_bpb of a run's configuration that nothing speaks against, its own included, in order."""
    same = [item.run for item in history if item.run.run != run.run and is_same(item.run, run)]
    return [r.val_bpb for r in [*same, run] if r.outcome == "scored" and r.val_bpb is not None and not r.suspect]


def is_same(one: Run, other: Run) -> bool:
    """Return whether two runs measured one configuration: the same commit, or code that does the same."""
    return one.commit == other.commit or (bool(one.fingerprint) and one.fingerprint == other.fingerprint)
