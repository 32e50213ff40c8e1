"""Folds the verdicts of a branch into the configurations that it was kept on, in order, the incumbent last."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from research.core.records import PERSON, Judged, Run, Verdict
from research.runs.gpu import CARD_FACT


def is_evidence(run: Run) -> bool:
    """Return whether a run's score counts: measured by this lab, under a known contract, without a reason to doubt."""
    return run.outcome == "scored" and run.val_bpb is not None and not run.suspect and run.origin != "import"


def latest_paired(runs: Sequence[Run], start: Run) -> Run | None:
    """Return the latest run with a score that has a run's seed and card, so that their losses can be compared.

    Another card of its kind is faster or slower, and so sees other rows at a time.
    """
    here = start.seed, start.facts.get(CARD_FACT)
    alike = (run for run in reversed(runs) if (run.seed, run.facts.get(CARD_FACT)) == here)
    return next(filter(is_evidence, alike), None)


def is_about_candidate(run: Run) -> bool:
    """Return whether a run's end says something about its configuration: a trusted score does, and a failed probe.

    A crash, a time limit or a score that disagrees with its log may be the machine's doing; one such replicate does
    not undo what other runs have shown.
    """
    if run.failure is not None and run.failure.kind == "probe":
        return True
    return run.outcome == "scored" and not run.suspect


def is_same(one: Run, other: Run) -> bool:
    """Return whether two runs measured one configuration: the same commit, or code that does the same."""
    return one.commit == other.commit or (bool(one.fingerprint) and one.fingerprint == other.fingerprint)


def of_contract(history: Iterable[Judged], branch: str, contract: str | None) -> list[Judged]:
    """Return the judged runs of one branch under one contract."""
    return [item for item in history if item.run.branch == branch and item.run.contract == contract]


def contract_of(run: Run, history: Sequence[Judged]) -> str | None:
    """Return a run's contract; for one that came to no score, the latest contract of its branch."""
    return run.contract if run.contract is not None else latest_contract(history, run.branch)


def latest_contract(history: Sequence[Judged], branch: str) -> str | None:
    """Return the contract that a branch was kept in last, else the one it was measured in last."""
    mine = [item for item in history if item.run.branch == branch and item.run.contract is not None]
    kept = [item for item in mine if item.verdict and item.verdict.decision == "keep"]
    if kept:
        return max(kept, key=lambda item: item.order).run.contract
    return mine[-1].run.contract if mine else None


def incumbent(history: Sequence[Judged]) -> Run | None:
    """Return the run whose commit the branch is on: the latest kept one that was not discarded after."""
    return next(reversed(kept_chain(history)), None)


def kept_chain(history: Sequence[Judged]) -> list[Run]:
    """Return the kept runs of a branch, one for each configuration, the incumbent's last.

    A discard of the incumbent puts back the one that was kept before it; a discard of an older one's replicate leaves
    the branch where it is; a run whose own keep is taken back no longer counts as kept.
    """
    chains = [kept for _, kept in kept_chains(history)]
    return chains[-1] if chains else []


def kept_chains(history: Sequence[Judged]) -> Iterator[tuple[Run, list[Run]]]:
    """Yield the run of every decision, in order, with the kept runs after it: see kept_chain()."""
    decided = [
        (order, decision, item.run)
        for item in history
        if item.verdict
        for order, decision in (*item.earlier, (item.order, item.verdict.decision))
    ]
    kept: list[Run] = []
    for _, decision, run in sorted(decided, key=lambda entry: entry[0]):
        others = [other for other in kept if other.commit != run.commit]
        if decision == "keep":
            kept = [*others, run]
        elif decision == "discard" and kept:
            takes_tip_away = kept[-1].commit == run.commit and is_about_candidate(run)
            if takes_tip_away or any(other.run == run.run for other in kept):
                kept = others
        yield run, kept


GAVE_WAY = "a near miss: a person kept another change of the same parent"
"""Beginning of a person's reason to discard what they did not reject: something else took its place."""


def persons_verdict(group: Iterable[Judged]) -> Verdict | None:
    """Return a person's last verdict on runs of one configuration, None if nobody decided."""
    ruled = [(item.order, item.verdict) for item in group if item.verdict and item.verdict.rule == PERSON]
    return max(ruled, key=lambda entry: entry[0])[1] if ruled else None


def is_rejected(group: Iterable[Judged]) -> bool:
    """Return whether a person discarded the configuration of these runs for its own sake."""
    verdict = persons_verdict(group)
    return verdict is not None and verdict.decision == "discard" and not verdict.why.startswith(GAVE_WAY)


def runs_since_keep(history: Sequence[Judged]) -> int:
    """Return the number of runs since the last one whose verdict is keep."""
    for count, item in enumerate(reversed(history)):
        if item.verdict is not None and item.verdict.decision == "keep":
            return count
    return len(history)


def baseline(history: Sequence[Judged]) -> Run | None:
    """Return the run that the branch began with."""
    return next((item.run for item in history if item.verdict and item.verdict.baseline), None)
