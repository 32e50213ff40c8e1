"""What the morning page says, as values: everything is decided here, so that drawing and writing only lay it out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from research.agents.night.state import NightState
from research.core.records import Estimate

Status = Literal["keep", "open", "discard", "crash"]
"""How a dot is drawn: its configuration was kept; waits for a replicate or a look; was not kept; has no score."""


@dataclass(frozen=True)
class Row:
    """One counted run: a dot of the chart and a row of the table.

    Attributes:
        number: Its place in the history shown, from 1.
        run: Its name.
        commit: Full hash, "" when unknown.
        parent: The commit's first parent, "".
        title: The commit's subject without its prefix and tag.
        emitter: Who proposed it, "free" where nobody is named, "" for the baseline.
        category: What it changed, "".
        status: See Status; that of its configuration.
        decision: The verdict on the run in a word, "crash" without a score.
        why: The verdict's sentence.
        val_bpb: Its score, None without one.
        first: Number of the first run of its configuration; its own unless it is a replicate.
        p_better: Probability that its configuration beats the incumbent of the time.
        difference: Its configuration against that incumbent, as its verdict believed.
        seed: Its seed.
        started_utc: ISO 8601.
        minutes: Wall-clock minutes, None when unknown.
        peak_gb: Peak memory in GiB.
        params_m: Parameters in millions.
        lines: Lines added and removed, as "+3 -1".
        changes: Constants and functions changed, one line.
        signature: The crash's signature, "".
        doubt: Why the score is not believed, "".
    """

    number: int
    run: str
    commit: str
    parent: str
    title: str
    emitter: str
    category: str
    status: Status
    decision: str
    why: str
    val_bpb: float | None
    first: int
    p_better: float | None = None
    difference: Estimate | None = None
    seed: int = 0
    started_utc: str = ""
    minutes: float | None = None
    peak_gb: float | None = None
    params_m: float | None = None
    lines: str = ""
    changes: str = ""
    signature: str = ""
    doubt: str = ""


@dataclass(frozen=True)
class Candidate:
    """One configuration with all its runs.

    Attributes:
        number: Number of its first run.
        commit: Full hash.
        title: What it is.
        emitter: Who proposed it, "".
        runs: Names of its runs.
        first_bpb: Score of its first run.
        estimate: What is believed of its value now.
        gain: Its value minus that of what stood when it was decided, as believed (below zero is better); see gains.
        p_better: Probability that it beats that incumbent.
        decision: What was decided last.
        audit: Its audit score minus the baseline's, as measured; None without both.
        against_baseline: Its value minus the baseline's, as believed.
        measured: The mean of its runs as they are.
    """

    number: int
    commit: str
    title: str
    emitter: str
    runs: tuple[str, ...]
    first_bpb: float | None
    estimate: Estimate | None
    gain: Estimate | None = None
    p_better: float | None = None
    decision: str = ""
    audit: Estimate | None = None
    against_baseline: Estimate | None = None
    measured: float | None = None

    @property
    def n(self) -> int:
        """Runs that tell its value."""
        return self.estimate.n if self.estimate else 0


@dataclass(frozen=True)
class Step:
    """From one run on, what the branch stood on: the frontier's corner.

    Attributes:
        number: Number of the run after which it stood.
        commit: Full hash of what stood.
        title: What it is.
        estimate: What was known of its value then.
        fresh: Whether another configuration stood before (else its estimate moved).
        gain: What is believed of its change now, None where nothing is.
    """

    number: int
    commit: str
    title: str
    estimate: Estimate
    fresh: bool
    gain: Estimate | None = None


@dataclass(frozen=True)
class EmitterLine:
    """What one emitter did and earned: bpb that its kept changes took off, as believed."""

    name: str
    runs: int
    minutes: float
    kept: int
    crashes: int
    earned_bpb: float


@dataclass(frozen=True)
class CrashLine:
    """One way to fail: kind and signature, how often, the latest run's number and commit."""

    kind: str
    signature: str
    count: int
    number: int
    commit: str


@dataclass(frozen=True)
class Cell:
    """A niche of the archive's grid."""

    niche: str
    title: str
    mean: float
    n: int
    count: int
    emitter: str
    commit: str


@dataclass(frozen=True)
class Bet:
    """Something to try next: what, why, and the command that does it ("" where the planner will)."""

    title: str
    why: str
    command: str = ""


@dataclass(frozen=True)
class Headline:
    """The numbers on top.

    Attributes:
        gain: The best minus the baseline, as believed (below zero is better); None without both.
        confirmed: Whether the best was measured more than once and the gain's interval lies below zero.
        solid: The best of those of which both hold; the best itself where it is confirmed.
        best: The best configuration, None before the first score.
        baseline: The configuration that the branch began with.
        runs: Counted runs.
        crashes: Counted runs without a score.
        kept: Configurations kept after the baseline.
        wall_hours: Hours from the first start to the last finish, long pauses left out.
        utilisation: Share of the devices' working time spent training, None when unknown.
        cost_usd: Dollars, None when nobody said.
        cost_from: Where that figure comes from, or why there is none.
        night: One line about the latest night, "".
    """

    gain: Estimate | None = None
    confirmed: bool = False
    solid: Candidate | None = None
    best: Candidate | None = None
    baseline: Candidate | None = None
    runs: int = 0
    crashes: int = 0
    kept: int = 0
    wall_hours: float = 0.0
    utilisation: float | None = None
    cost_usd: float | None = None
    cost_from: str = ""
    night: str = ""


@dataclass(frozen=True)
class ReportData:
    """Everything on the page; see the parts. Lists are in the order in which they are shown."""

    branch: str
    contract: str
    made_utc: str
    headline: Headline = field(default_factory=Headline)
    noise: str = ""
    phase: str = ""
    rows: tuple[Row, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    steps: tuple[Step, ...] = ()
    confirmed: tuple[Candidate, ...] = ()
    unsure: tuple[Candidate, ...] = ()
    looked_good: tuple[Candidate, ...] = ()
    waiting: tuple[Candidate, ...] = ()
    audited: tuple[Candidate, ...] = ()
    cells: tuple[Cell, ...] = ()
    emitters: tuple[EmitterLine, ...] = ()
    crashes: tuple[CrashLine, ...] = ()
    conjectures: tuple[str, ...] = ()
    bets: tuple[Bet, ...] = ()
    diffs: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    night: NightState | None = None
