"""One posterior estimates values, changes and noise; whoever shows or uses a number of them asks that one."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "research"
POSTERIOR = {"verdict/belief.py", "verdict/variances.py", "verdict/effects.py"}
STATISTICS = {
    "verdict/noise.py": "the quantile of a normal distribution",
    "verdict/audit.py": "what the audit text says otherwise than val, as measured",
    "search/policies/baselines.py": "means of scores, as the plain policies take them",
    "simulator/noise.py": "the scatter of simulated scores",
    "agents/night/limits.py": "the median of how long runs took",
    "report/audit.py": "means of scores on both texts as they were measured, beside the posterior",
    "report/data.py": "the median of how long runs took",
}
"""Who may load the library's statistics, and for what."""
ESTIMATES = {
    "verdict/belief.py": "makes them",
    "verdict/judge.py": "turns a difference round, and means of scores for the plain rule",
    "verdict/memory.py": "turns a difference round",
    "verdict/digest.py": "reads them back",
    "verdict/summary.py": "turns a gain round",
    "report/charts.py": "turns a difference round",
    "simulator/metrics.py": "means over simulated nights",
}
"""Who may make an Estimate, and of what."""


def names_in(path: Path) -> tuple[set[str], set[str]]:
    """Return the modules that a file imports, with names from one as "module.name", and the names that it calls."""
    imported: set[str] = set()
    called: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Call):
            called.add(node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", ""))
    return imported, called


FILES = {  # the benchmark trains and evaluates, and judges nothing
    path.relative_to(PACKAGE).as_posix(): names_in(path)
    for path in PACKAGE.rglob("*.py")
    if PACKAGE / "benchmark" not in path.parents
}


def importers(*modules: str) -> set[str]:
    return {name for name, (imported, _) in FILES.items() if not imported.isdisjoint(modules)}


def callers(function: str) -> set[str]:
    return {name for name, (_, called) in FILES.items() if function in called}


def test_only_the_posterior_does_algebra():
    assert importers("numpy") == POSTERIOR
    assert importers("scipy", "pandas", "torch") == set()
    assert importers("statistics") == STATISTICS.keys()


def test_estimates_are_made_by_the_posterior():
    assert callers("Estimate") == ESTIMATES.keys()
    assert importers("research.verdict.variances.estimate", "research.verdict.effects") == {"verdict/belief.py"}


def test_a_posterior_is_made_from_records_and_from_what_a_policy_saw():
    assert callers("Belief") == {"verdict/evidence.py", "search/policies/discovery.py"}
