"""A machine that was slower in one run is not taken for a change; what a change costs in tokens is said."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.judgekit import Night

from research.core.records import Metrics, Run
from research.verdict.review import reviewed
from research.verdict.throughput import gpu_tokens_per_second

USUAL = Metrics(0.99, 300.0, 330.0, 25_000.0, 40.0, 450.0, 900, 50.0, 8)


def told(tokens_m: float = 450.0, device: str = "NVIDIA H200", kernels: str = "", **shape: float) -> dict[str, object]:
    """What a run says of its speed; a step has the usual tokens unless its shape says otherwise."""
    steps = round(USUAL.num_steps * tokens_m / USUAL.total_tokens_M)
    metrics = replace(USUAL, total_tokens_M=tokens_m, **{"num_steps": steps, **shape})
    facts = {"kernels": kernels} if kernels else {}
    return {"metrics": metrics, "device": device, "peak_vram_mb": metrics.peak_vram_mb, "facts": facts}


def night() -> Night:
    found = Night()
    found.run("base", 0.99, **told())
    return found


@pytest.mark.parametrize("val_bpb", [0.980, 0.9895, 0.999])
def test_a_slower_machine_decides_nothing(val_bpb: float):
    verdict = night().run("idea", val_bpb, "base", **told(400.0))
    assert verdict.decision == "investigate"
    assert verdict.why.startswith("this machine was 11% slower in this run, which its change does not explain")


def test_a_parent_on_a_slower_machine_lifts_nobody():
    found = Night()
    found.run("base", 0.99, **told(400.0))
    verdict = found.run("idea", 0.98, "base", **told())
    assert verdict.decision == "investigate"
    assert "slower in the runs that it is compared with" in verdict.why


@pytest.mark.parametrize(
    ("before", "speed"),
    [
        (told(), told(440.0)),
        (told(), told(400.0, num_params_M=60.0)),
        (told(), told(400.0, num_steps=1800)),
        (told(), told(400.0, peak_vram_mb=30_000.0)),
        (told(device="cpu test"), told(400.0, device="cpu test")),
        ({}, {}),
    ],
    ids=["within the tolerance", "larger model", "smaller batch", "more memory", "a CPU", "nothing known"],
)
def test_what_the_change_explains_is_judged_as_usual(before: dict[str, object], speed: dict[str, object]):
    found = Night()
    found.run("base", 0.99, **before)
    assert found.run("idea", 0.98, "base", **speed).decision == "keep"


def test_after_a_second_run_the_scores_decide():
    found = night()
    found.run("base", 0.986, seed=43, **told())
    found.run("idea", 0.98, "base", **told(400.0))
    assert found.run("idea", 0.976, "base", seed=43, **told(401.0)).decision == "keep"


def test_a_lost_kernel_is_the_changes_own_cost_and_said():
    found = Night()
    found.run("base", 0.99, **told(kernels='["mlp"]'))
    verdict = found.run("idea", 0.98, "base", **told(400.0, kernels="[]"))
    assert verdict.decision == "keep"
    text = reviewed(found.cases[-1], verdict, lambda run: "niche").text
    assert "+50.0 M fewer training tokens" in text


def test_a_run_that_reported_nothing_has_no_speed():
    assert gpu_tokens_per_second(Run("r", "", "runner", "b", "c", "2026-01-01T00:00:00Z")) is None
