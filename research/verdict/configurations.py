"""From judged runs to configurations: which runs measured the same code, what they scored, what was decided last."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from research.core.records import Decision, Failure, Judged, Run
from research.store import ledger
from research.verdict import lineage
from research.verdict.comparable import is_believable
from research.verdict.evidence import Evidence


@dataclass(slots=True)
class Config:
    """One configuration while it is put together; the first run with a known change describes it."""

    key: str
    run: Run
    on_branch: bool
    runs: list[str] = field(default_factory=list)
    decision: Decision | None = None
    decided_by: str = ""
    order: int = -1
    why: str = ""
    failure: Failure | None = None
    suspect: bool = False
    peak_vram_mb: float | None = None
    params_m: float | None = None
    finished_utc: str = ""

    def take(self, item: Judged) -> None:
        """Adds what one run says, its score left out."""
        run, verdict = item.run, item.verdict
        self.runs.append(run.run)
        self.finished_utc = run.finished_utc or self.finished_utc
        self.suspect = self.suspect or bool(run.suspect)
        self.failure = run.failure or self.failure
        if run.peak_vram_mb is not None:
            self.peak_vram_mb = run.peak_vram_mb
        if run.metrics is not None:
            self.params_m = run.metrics.num_params_M
        if verdict is None or item.order <= self.order:
            return
        # The crash of one replicate takes away nothing that other runs have shown.
        if self.decided_by in ("", run.run) or verdict.decision == "keep" or lineage.is_about_candidate(run):
            self.order, self.decision, self.why, self.decided_by = item.order, verdict.decision, verdict.why, run.run


@dataclass(frozen=True)
class Gathered:
    """The configurations of one contract.

    Attributes:
        configs: By key, in order of the first run.
        evidence: Their believable scores.
        key_of: Commit to key.
        steps: For every run in order its key, and its parent's score minus its own as they stood then (None where
            either was unknown).
        items: The comparable items of the branch, in order.
    """

    configs: Mapping[str, Config]
    evidence: Evidence
    key_of: Mapping[str, str]
    steps: tuple[tuple[str, float | None], ...]
    items: tuple[Judged, ...]

    def parent(self, config: Config) -> Config | None:
        """The configuration that one was made from, None where it was not measured."""
        key = self.key_of.get(config.run.parent, "") if config.run.parent else ""
        return self.configs.get(key) if key != config.key else None

    def mean(self, key: str) -> float | None:
        """Mean of a configuration's believable scores, None without any."""
        return self.evidence.mean(key) if key in self.evidence else None


def gather(history: Iterable[Judged], branch: str, contract: str | None) -> Gathered:
    """Groups the runs of a contract; those of other branches count as evidence, since scores are comparable."""
    items = [item for item in history if _is_comparable(item.run, branch, contract)]
    key_of: dict[str, str] = {}
    for item in items:
        if item.run.fingerprint and item.run.commit:
            key_of.setdefault(item.run.commit, item.run.fingerprint)
    configs: dict[str, Config] = {}
    evidence = Evidence()
    steps: list[tuple[str, float | None]] = []
    for key, item in _keyed(items, key_of):
        run = item.run
        config = configs.get(key)
        if config is None:
            config = configs[key] = Config(key, run, run.branch == branch)
        elif run.branch == branch and not config.on_branch:
            config.on_branch, config.run = True, run
        elif run.category and not config.run.category and config.run.branch == run.branch:
            config.run = run
        config.take(item)
        gain = None
        if run.val_bpb is not None and is_believable(run):
            evidence.add(key, run.val_bpb)
            parent = key_of.get(run.parent, "")
            if parent != key and parent in evidence:
                gain = evidence.mean(parent) - evidence.mean(key)
        steps.append((key, gain))
    return Gathered(configs, evidence, key_of, tuple(steps), tuple(i for i in items if i.run.branch == branch))


def _is_comparable(run: Run, branch: str, contract: str | None) -> bool:
    """Whether a run says something about a contract; a crash that came to none counts where it happened."""
    if not ledger.has_row(run):
        return False
    return run.contract == contract or (run.contract is None and run.branch == branch)


def _keyed(items: Iterable[Judged], key_of: dict[str, str]) -> Iterator[tuple[str, Judged]]:
    for item in items:
        run = item.run
        key = run.fingerprint or key_of.get(run.commit) or run.commit or run.run
        if run.commit:
            key_of.setdefault(run.commit, key)
        yield key, item
