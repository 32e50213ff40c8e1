"""The next order for an agent whose turn ended: one situation in, one short text out, facts first.

Text of others (subjects, reasons from logs) is bounded, on one line, and quoted as data.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

POLL = "an empty write_stdin with yield_time_ms 300000"
SIGNS = "(Where a sign is shown as an HTML entity, type the sign.)"
QUOTED_CHARS = 160
"""How much of somebody else's text an order repeats."""


class Situation:
    """What a lab stands at.

    Attributes:
        branch: The branch.
        head: HEAD's full hash, "" without commits.
        subject: Its subject.
        command: The runner's command line.
        options: The runner's options in it.
        running: Names of the runs in progress.
        gone: Names of runs whose runner is gone without an end.
        recent: Latest verdicts, newest first: run, commit, decision, why, settled_utc, fingerprint.
        has_baseline: Whether the branch began.
        measured: Whether HEAD was measured to an end.
        ended_badly: Why the last launch of HEAD says nothing about it, "".
        dirty: Whether train.py differs from HEAD.
        missing_data: What is missing, "".
        told_of_data: Whether the person was told.
        plan: The pending plan, None.
    """

    __slots__ = (
        "branch", "command", "dirty", "ended_badly", "gone", "has_baseline", "head", "measured", "missing_data",
        "options", "plan", "recent", "running", "subject", "told_of_data",
    )  # fmt: skip

    def __init__(self, branch: str, head: str, subject: str, options: str) -> None:
        self.branch, self.head, self.subject, self.options = branch, head, subject, options
        self.command = f"python scripts/run_experiment.py {options} -- uv run train.py > run.log 2>&1"
        self.running: list[str] = []
        self.gone: list[str] = []
        self.recent: list[dict[str, Any]] = []
        self.has_baseline = self.measured = self.dirty = self.told_of_data = False
        self.ended_badly = self.missing_data = ""
        self.plan: dict[str, Any] | None = None


class Order:
    """What to do next: its kind, and the text; an empty text lets the agent stop."""

    __slots__ = ("kind", "text")

    def __init__(self, kind: str, text: str) -> None:
        self.kind, self.text = kind, text


def quoted(text: str, chars: int = QUOTED_CHARS) -> str:
    """Somebody else's text as data: one line, bounded, in quotes."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return '"' + (line if len(line) <= chars else line[: chars - 1] + "…").replace('"', "'") + '"'


def next_order(here: Situation, words: int) -> Order:
    """The first thing that is to be done.

    Args:
        here: Where the lab stands.
        words: Most words of the order.
    """
    return _first(here, words)


def _first(here: Situation, words: int) -> Order:
    if here.running:
        return Order(
            "wait",
            f"Run {here.running[0]} is still in progress. Start nothing else and do not end your turn: poll its "
            f"session with {POLL} until it exits. If its session is lost, wait with `sleep 60` and look at "
            "`tail -n 3 run.log`. Then read `uv run research last-review`.",
        )
    if here.gone:
        return Order(
            "settle",
            f"Run {here.gone[0]} ended without its runner (it was interrupted; that says nothing about the idea). "
            "Type `uv run research settle`, which takes that in, and then launch HEAD again if it is not measured.",
        )
    if order := _of_verdicts(here):
        return order
    if here.missing_data:
        if here.told_of_data:
            return Order("no-data", "")
        return Order(
            "no-data",
            f"{here.missing_data} Only a person can mend that: tell them in one sentence to type `uv run prepare.py`, "
            "and end your turn.",
        )
    if here.dirty:
        return Order(
            "dirty",
            "train.py has changes that are not committed. If they are the one idea to be tested, commit them: "
            "`git commit -m 'exp: WHAT [emitter=NAME]' -- train.py`. If not, drop them: `git restore train.py`.",
        )
    if not here.has_baseline:
        return Order("baseline", f"This branch has no baseline yet. Measure train.py as it is:\n{_launch(here)}")
    if here.subject.startswith("exp:") and not here.measured:
        badly = f" Its last launch did not count: {quoted(here.ended_badly)}." if here.ended_badly else ""
        return Order(
            "run", f"HEAD {here.head[:7]} {quoted(here.subject, 90)} is not measured yet.{badly}\n{_launch(here)}"
        )
    return _of_plan(here, words)


def _of_verdicts(here: Situation) -> Order | None:
    """The verdict that git has to follow, or that needs another run."""
    seen: set[str] = set()
    open_one: dict[str, Any] | None = None
    for row in here.recent:
        config = row["fingerprint"] or row["commit"]
        if config in seen:
            continue
        seen.add(config)
        if row["decision"] in ("replicate", "investigate"):
            open_one = open_one or row
    latest: dict[str, dict[str, Any]] = {}
    for row in here.recent:
        latest.setdefault(row["run"], row)
    waiting = [row for row in latest.values() if not row["settled_utc"] and row["decision"] in ("keep", "discard")]
    if waiting:
        row = waiting[-1]
        return Order(
            "settle",
            f"Run {row['run']} is judged: {row['decision']} ({quoted(row['why'])}). Carry that out in git: "
            "`uv run research settle`. It moves the branch only where nothing is lost; if it says what is in the way, "
            "do that first.",
        )
    if open_one:
        look = " It is too good to be believed yet, so look at its diff too." * (open_one["decision"] == "investigate")
        gpu = here.options.replace("--backend local", "").strip()
        return Order(
            "replicate",
            f"Run {open_one['run']} is undecided ({quoted(open_one['why'])}): it needs another seed.{look}\n"
            f"Type: uv run research replicate {open_one['commit'][:7]}{' ' + gpu if gpu else ''} > run.log 2>&1\n"
            f"Poll with {POLL} to its end; then `uv run research last-review`. {SIGNS}",
        )
    return None


def _launch(here: Situation) -> str:
    return (
        f"Type, from the top of the repository and in the foreground: {here.command}\n"
        f"Poll with {POLL} until it exits. Then read `uv run research last-review` and type `uv run research settle`. "
        f"{SIGNS}"
    )


def _of_plan(here: Situation, words: int) -> Order:
    """What the lab wants tried next; of a long brief the end is left out, not what to type."""
    plan = here.plan or {}
    details = plan.get("details") or {}
    brief = details.get("brief") or details.get("prompt") if isinstance(details, dict) else None
    commit = str(plan.get("commit") or plan.get("parent") or "")
    if plan.get("kind") == "replicate" and commit:
        return Order(
            "replicate",
            f"Measure {commit[:7]} once more ({quoted(str(plan.get('reason', '')))}).\n"
            f"Type: uv run research replicate {commit[:7]} > run.log 2>&1\nPoll with {POLL} to its end; then "
            f"`uv run research last-review`. {SIGNS}",
        )
    emitter = plan.get("emitter") or "free"
    if brief:
        what = str(brief)
    elif plan:
        what = (
            f"Next experiment: {emitter}, category {plan.get('category') or 'any'}"
            + (f", from {commit[:7]} (git reset --keep {commit[:7]})" if commit and commit != here.head else "")
            + f". Why: {quoted(str(plan.get('reason', '')))}."
        )
    else:
        what = (
            "Next experiment: choose it yourself. `uv run research summary` says what is known, what nearly worked and "
            "what failed; take the idea with the best expected gain that was not tried."
        )
    rest = (
        f"One idea, train.py only. Commit it before the run: `git commit -m 'exp: WHAT [emitter={emitter}]' "
        f"-- train.py`.\n{_launch(here)}\nDo not ask for confirmation."
    )
    return Order("plan", f"{_cut(what, words - len(rest.split(' ')))}\n\n{rest}")


def _cut(text: str, words: int) -> str:
    parts = text.split(" ")
    return text if len(parts) <= words else " ".join(parts[:words]) + " … (`uv run research next` shows all of it)"
