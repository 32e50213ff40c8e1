"""Carries verdicts out in git: moves the branch to what is kept, unless somebody's work would be lost."""

from __future__ import annotations

import contextlib
import shlex
from dataclasses import dataclass, replace
from pathlib import Path

from research.core import git
from research.core.commands import replicate_command
from research.core.commit_message import idea_of
from research.core.contract import BRANCHES
from research.core.errors import ResearchError
from research.core.files import write_whole
from research.core.records import PERSON, Decision, Judged, Run, Verdict
from research.lab.lab import Lab, comparable
from research.lab.twin import same_program, way_back
from research.store import reads
from research.store.db import Store
from research.store.ledger import has_row
from research.verdict import lineage


class CannotSettle(ResearchError):
    """Git is not in a state in which the verdict could be carried out."""


@dataclass(frozen=True)
class Settled:
    """The result of carrying a verdict out."""

    run: Run | None  # None where nothing waited
    verdict: Verdict | None  # the verdict that holds now
    tip: str | None  # full hash of the branch's tip now
    say: str  # one sentence for people


def settle(lab: Lab, store: Store, name: str | None = None, branch: str | None = None) -> Settled:
    """Carry out the verdict on a run; without a name, that on the oldest unsettled run of the branch.

    Raises:
        CannotSettle: if it can't be done now; nothing was moved.
    """
    root = lab.paths.root
    run = find_run(store, name) if name else _oldest(store, root, branch)
    if run is None:
        return Settled(None, None, git.head(root).commit, "Nothing to settle.")
    if run.outcome is None:
        raise CannotSettle(f"{run.run} has not ended.", "Wait for its end line, then type: uv run research settle")
    verdict, tip = store.verdict(run.run), git.branch_tip(root, run.branch) if run.branch else None
    if verdict is None:
        return Settled(run, None, tip, f"{run.run} has no verdict: {run.why or f'it ended as {run.outcome}'}.")
    if verdict.settled_utc is not None:
        return Settled(run, verdict, tip, f"{run.branch} is at {tip[:7]}." if tip else "Nothing to move.")
    if verdict.is_open:
        what = f"{run.run} is not decided yet ({verdict.decision}: {verdict.why})."
        raise CannotSettle(what, f"Type: {replicate_command(run.commit[:7])}")
    best = lineage.incumbent(comparable(store, run))
    tip, say = _move(root, store, run, tip, best.commit if best else None)
    store.settle(run.run, lab.now_utc())
    lab.write_verdicts(store, run)
    return Settled(run, store.verdict(run.run), tip, say)


def unsettled(store: Store) -> list[Run]:
    """List the runs whose verdict is decided and git has not followed, oldest first."""
    judged = [(item.run, item.verdict) for item in store.judged() if item.verdict]
    return [run for run, verdict in judged if verdict.settled_utc is None and not verdict.is_open]


def _oldest(store: Store, root: Path, branch: str | None) -> Run | None:
    """Find the oldest run of a branch, by default the current one, whose verdict git has not followed.

    Raises:
        CannotSettle: on a detached HEAD.
    """
    waiting = unsettled(store)
    if not waiting:
        return None
    branch = branch or git.head(root).branch
    if not branch:
        step = f"Type: git checkout {waiting[0].branch or 'BRANCH'}"
        raise CannotSettle("HEAD is detached, so there is no branch to move.", step)
    return next((run for run in waiting if run.branch == branch), None)


def find_run(store: Store, name: str) -> Run:
    """Find the run of that name, the only one whose name begins so, or the only counted run of that commit.

    Raises:
        ResearchError: if there is none, or several.
    """
    if run := store.run(name):
        return run
    runs = store.runs() if name else []
    found, what = [run for run in runs if run.run.startswith(name)], f"More than one run begins with {name}."
    if not found and len(name) >= 4:
        found = [run for run in runs if run.counted and run.commit.startswith(name)]
        what = f"The commit {name} has {len(found)} runs."
    if len(found) == 1:
        return found[0]
    if found:
        raise ResearchError(what, f"Name one: {', '.join(run.run for run in found[-5:])}")
    step = "The names are in results/runs and in the runner's start lines."
    raise ResearchError(f"There is no run {name}.", step)


def _move(root: Path, store: Store, run: Run, tip: str | None, target: str | None) -> tuple[str | None, str]:
    """Set the run's branch from its tip to the target, if that is safe; return its tip and a sentence."""
    branch = run.branch
    if not branch:
        return None, f"{run.run} was made on no branch; nothing to move."
    if target is None:
        return tip, f"{branch} has nothing kept yet; it stays where it is."
    if tip == target:
        return tip, f"{branch} is at {target[:7]}."
    if tip is None:
        raise CannotSettle(f"The branch {branch} no longer exists.", f"Type: git branch {branch} {target[:7]}")
    try:
        amended = git.is_same_tree(root, run.commit, tip)  # only its message is new
        _check_move(root, store, run, run.commit if amended else tip, target)
        git.move_branch(root, branch, target, tip)
    except git.GitError as error:  # such as the lock of somebody else's git, which is at work here
        what = f"{branch} was not moved: {error.what}"
        raise CannotSettle(what, "When that is over, type: uv run research settle") from None
    return target, f"{branch} moved from {tip[:7]} to {target[:7]}."


def _check_move(root: Path, store: Store, run: Run, tip: str, target: str) -> None:
    """Raise CannotSettle where a move would lose something or can't be made."""
    branch = run.branch
    if not branch.startswith(BRANCHES):
        what = f"{branch} is not an {BRANCHES}* branch and is not moved."
        name = git.free_branch(root, BRANCHES + branch.replace("/", "-"))
        raise CannotSettle(what, f"To go on from the best so far, type: git checkout -b {name} {target[:7]}")
    if git.resolve(root, target) is None:
        what, step = git.missing_commit(target)
        raise CannotSettle(what, f"{step} && uv run research settle")
    _check_measured(root, store, run, tip, target)
    if (place := git.worktree_of(root, branch)) is None:
        return
    if git.head(root).branch != branch:
        free = f"git -C {shlex.quote(str(place))} checkout --detach"
        raise CannotSettle(f"{branch} is checked out in {place}.", f"Type: {free} && uv run research settle {run.run}")
    if doing := git.unfinished(root):
        raise CannotSettle(f"A {doing} is in progress.", f"Finish it, or type: {git.how_to_abort(doing)}")
    if changed := [path for path in git.changed_files(root) if path != "results.tsv"]:  # which is written all the time
        raise CannotSettle(
            f"The work tree is not clean ({', '.join(changed[:5])}), and moving {branch} would touch it.",
            f"Commit the changes or type: {git.how_to_clean(root)}. Then type: uv run research settle",
        )


def _check_measured(root: Path, store: Store, run: Run, tip: str, target: str) -> None:
    """Raise CannotSettle where a move would drop a commit that no run has measured."""
    is_measured = tip == run.commit or any(known.commit == tip and has_row(known) for known in store.runs())
    if is_measured or git.is_ancestor(root, tip, target):
        return
    what = f"The tip of {run.branch}, {tip[:7]}, "
    twin = same_program(root, store, run.branch, tip)
    if twin is None:
        step = f"git branch keep-{tip[:7]} {tip[:7]} && git reset --keep {target[:7]}"
        what += "was never measured to its end, and moving the branch would drop it."
        raise CannotSettle(what, f"Run it first, or give it a branch: {step}")
    if (back := way_back(root, store, run.branch, tip, twin)) != tip:
        what += f"is the same program as run {twin.run}, so that it would not be measured again."
        raise CannotSettle(what, f"Take it back: git reset --keep {back[:7]} && uv run research settle")


def decide(lab: Lab, store: Store, name: str, decision: Decision, why: str) -> Settled:
    """Store a person's verdict on a configuration, which overrules the rule's, and carry it out at once.

    Args:
        name: A run of the configuration, or the beginning of its commit.

    Raises:
        ResearchError: if the run can't be kept or is unknown.
        CannotSettle: if git can't follow now; the verdict is stored nevertheless.
    """
    run = _latest_of_commit(store, name) or find_run(store, name)
    if run.outcome is None:
        raise CannotSettle(f"{run.run} has not ended.", "Wait for its end line.")
    if decision == "keep" and (run.outcome != "scored" or run.origin == "import"):
        raise ResearchError(f"{run.run} can't be kept: it has no score of this lab.", "Choose another run.")
    if not run.counted and run.origin != "import":
        raise ResearchError(f"{run.run} is not counted: {run.why}.", f"Type: {replicate_command(run.commit[:7])}")
    known = store.verdict(run.run)
    history = comparable(store, run)
    gave_way = f"{lineage.GAVE_WAY}, {run.commit[:7]}"
    for other in _siblings(history, run, decision):
        _store_decision(lab, store, other, decision, why, lab.now_utc())
    _store_decision(lab, store, run, decision, why)
    if decision == "keep":
        for rival in _rivals(history, run):
            _store_decision(lab, store, rival, "discard", gave_way, lab.now_utc())
    else:
        for rival in [item.run for item in history if item.verdict and item.verdict.why == gave_way]:
            _store_decision(lab, store, rival, "keep", f"{run.commit[:7]}, which it gave way to, is discarded")
    try:
        done = settle(lab, store, run.run)
    except CannotSettle as error:
        raise CannotSettle(f"The verdict is stored. {error.what}", error.next) from None
    if decision == "discard" and known and known.baseline:
        undo = f"To take it back, type: uv run research decide {run.run} keep --why 'it is the baseline'"
        so = "It is the baseline: while nothing else is kept, the next score is kept, whatever it is."
        return replace(done, say=f"{done.say} {so} {undo}")
    if decision == "discard" and done.tip and git.is_ancestor(lab.paths.root, run.commit, done.tip):
        tip, this = done.tip[:7], run.commit[:7]
        so = f"It was made from {this} and contains it. To go back to what was kept before it too, type:"
        step = f"uv run research decide {tip} discard --why 'it contains {this}'"
        return replace(done, say=f"{done.say} {so} {step}")
    return done


def _latest_of_commit(store: Store, name: str) -> Run | None:
    """Return the latest run with a score of the only commit that begins so, None without one."""
    runs = [run for run in store.runs() if run.counted and run.outcome == "scored" and run.commit.startswith(name)]
    return runs[-1] if len(name) >= 4 and len({run.commit for run in runs}) == 1 else None


def _siblings(history: list[Judged], run: Run, decision: Decision) -> list[Run]:
    """Return the other runs of a run's configuration that were decided otherwise, those with a score for a keep."""
    others = [item for item in history if item.run.run != run.run and lineage.is_same(item.run, run)]
    decided = [item.run for item in others if item.verdict and item.verdict.decision != decision]
    return [other for other in decided if decision == "discard" or lineage.is_evidence(other)]


def _rivals(history: list[Judged], run: Run) -> list[Run]:
    """Return the incumbent's kept runs where a run that a person keeps was made from the same parent."""
    tip = lineage.incumbent(history)
    if tip is None or not run.parent or tip.parent != run.parent or lineage.is_same(tip, run):
        return []
    kept = [
        item.run for item in history if item.verdict and item.verdict.decision == "keep" and not item.verdict.baseline
    ]
    return [other for other in kept if lineage.is_same(other, tip)]


def _store_decision(
    lab: Lab, store: Store, run: Run, decision: Decision, why: str, settled_utc: str | None = None
) -> None:
    """Store a person's verdict on a run, once."""
    before, now = store.verdict(run.run), lab.now_utc()
    if before is not None and (before.decision, before.rule, before.why) == (decision, PERSON, why):
        return
    fresh = before or Verdict(run.run, decision, PERSON, why, now)
    word = {"keep": "kept", "discard": "discarded"}[decision]
    text = f"{fresh.text.rstrip()}\nLater: {word} by a person: {why}.\n" if fresh.text else ""
    fresh = replace(fresh, decision=decision, rule=PERSON, why=why, created_utc=now, text=text, settled_utc=settled_utc)
    store.add_verdict(fresh)
    if text and reads.latest_reviewed(store) == run.run:
        with contextlib.suppress(OSError):
            write_whole(lab.paths.last_review, text.encode("utf-8", "replace"))
    store.drop_plans(now)  # made for what the branch was kept on
    lab.write_verdicts(store, run)
    lab.sync(store)


def follow_person(lab: Lab, store: Store, branch: str) -> str:
    """Store a person's reset of a branch below its best as their decision.

    The changes kept above the new tip are discarded in the person's name. A tip older than the baseline can't be worked
    on, so the branch goes back up, which drops nothing.

    Returns:
        A sentence on what was done and how to undo it, "" where the branch was not moved so.
    """
    root, history = lab.paths.root, store.judged(branch)
    history = lineage.of_contract(history, branch, lineage.latest_contract(history, branch))
    kept, tip, baseline = lineage.kept_chain(history), git.branch_tip(root, branch), lineage.baseline(history)
    if not kept or baseline is None or tip is None:
        return ""
    best = kept[-1]
    verdicts = [item.verdict for item in history if item.run.commit == best.commit and item.verdict]
    # A branch that git has not moved to its best yet is below it without a person's doing.
    was_at_best = any(verdict.decision == "keep" and verdict.settled_utc for verdict in verdicts)
    if tip == best.commit or not was_at_best or not git.is_ancestor(root, tip, best.commit):
        return ""
    if tip != baseline.commit and git.is_ancestor(root, tip, baseline.commit):
        git.move_branch(root, branch, best.commit, tip)
        return (
            f"{branch} was moved to {tip[:7]}, which is older than its baseline {baseline.commit[:7]}: nothing could "
            f"be compared there, so it is back at {best.commit[:7]}. To work from {tip[:7]}: "
            f"git checkout -b {git.free_branch(root, BRANCHES + 'other')} {tip[:7]}"
        )
    measured = [item.run for item in history if item.run.commit == tip and lineage.is_evidence(item.run)]
    if not measured:
        return ""
    why = f"a person moved the branch to {tip[:7]}"
    while kept and not git.is_ancestor(root, kept[-1].commit, tip):  # a commit is its own ancestor
        above = kept.pop().commit
        for item in history:
            if item.run.commit == above and item.verdict and item.verdict.decision == "keep":
                _store_decision(lab, store, item.run, "discard", why, lab.now_utc())
    if not kept or kept[-1].commit != tip:
        _store_decision(lab, store, measured[-1], "keep", why, lab.now_utc())
    return (
        f"You moved {branch} to {tip[:7]}, below {best.commit[:7]} ({idea_of(best.subject)}), which was kept. The "
        f"night works from {tip[:7]}. To take it back: uv run research decide {best.run} keep --why 'it is better'"
    )
