"""One posterior estimates values, changes and noise; whoever shows or uses a number of them asks that one."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "research"
BENCHMARK = PACKAGE / "benchmark"
"""What trains and evaluates; it judges nothing."""
POSTERIOR = {"belief", "variances", "effects"}
"""The modules of research.verdict that compute."""
STATISTICS = {
    "verdict/noise.py": "the quantile of a normal distribution",
    "verdict/audit.py": "what the audit text says otherwise than val, as measured",
    "search/policies/baselines.py": "means of scores, as the plain policies take them",
    "simulator/noise.py": "the scatter of simulated scores",
    "agents/night/limits.py": "the median of how long runs took",
    "report/data.py": "means of scores and audits as they were measured, beside the posterior",
}
"""Who may load the library's statistics, and for what."""
ESTIMATES = {
    "verdict/belief.py": "makes them",
    "verdict/judge.py": "turns a difference round, and means of scores for the plain rule",
    "verdict/memory.py": "turns a difference round",
    "verdict/summary.py": "reads them back",
    "report/data.py": "audits as they were measured",
    "report/charts.py": "turns a difference round",
    "simulator/metrics.py": "means over simulated nights",
}
"""Who may make an Estimate, and of what."""
READERS = (
    "verdict/rule.py", "verdict/seeds.py", "verdict/memory.py", "verdict/comparison.py", "verdict/evidence.py",
    "search/policies/discovery.py",
)  # fmt: skip
"""Who reads the posterior itself."""
THROUGH_MEMORY = ("verdict/summary.py", "search/planner.py", "report/data.py", "lab/lab.py")
"""Who reads it from the memory, or from a comparison that holds it."""


def modules() -> dict[str, ast.Module]:
    files = [path for path in PACKAGE.rglob("*.py") if BENCHMARK not in path.parents]
    return {path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text("utf-8")) for path in files}


MODULES = modules()


def imported(name: str) -> set[str]:
    """Every module that a file imports, and every name from one as "module.name"."""
    found: set[str] = set()
    for node in ast.walk(MODULES[name]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def called(name: str) -> set[str]:
    """Names of all functions and classes that a file calls."""
    calls = [node.func for node in ast.walk(MODULES[name]) if isinstance(node, ast.Call)]
    return {func.id if isinstance(func, ast.Name) else getattr(func, "attr", "") for func in calls}


def loads(name: str, library: str) -> bool:
    return any(one == library or one.startswith(f"{library}.") for one in imported(name))


def test_only_the_posterior_does_algebra():
    assert {name for name in MODULES if loads(name, "numpy")} == {f"verdict/{one}.py" for one in POSTERIOR}
    assert not any(loads(name, library) for name in MODULES for library in ("scipy", "pandas", "torch"))


def test_statistics_are_loaded_where_no_value_is_estimated():
    assert {name for name in MODULES if loads(name, "statistics")} == STATISTICS.keys()


def test_estimates_are_made_by_the_posterior():
    assert {name for name in MODULES if "Estimate" in called(name)} == ESTIMATES.keys()


def test_a_posterior_is_made_in_two_places():
    """From records, and from what a policy was told on a night of its own."""
    made = {name for name in MODULES if "Belief" in called(name)}
    assert made == {"verdict/evidence.py", "search/policies/discovery.py"}


def test_standard_deviations_are_estimated_in_one_place():
    callers = {name for name in MODULES if "research.verdict.variances.estimate" in imported(name)}
    assert callers == {"verdict/belief.py"}
    effects = {name for name in MODULES if {"research.verdict.effects"} & imported(name)}
    assert effects == {"verdict/belief.py"}


@pytest.mark.parametrize("name", READERS)
def test_readers_read_the_posterior(name: str):
    assert any(one.startswith("research.verdict.belief") for one in imported(name))


@pytest.mark.parametrize("name", THROUGH_MEMORY)
def test_others_read_it_from_what_holds_it(name: str):
    held = ("research.verdict.memory", "research.verdict.comparison", "research.verdict.models")
    assert any(one.startswith(held) for one in imported(name))
