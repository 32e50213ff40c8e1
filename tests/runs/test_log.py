"""The run-log grammar: strict, bounded, never raising."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from research.core.contract import OWN_KEYS, PUBLIC_KEYS
from research.core.settings import SETTINGS
from research.core.text import clean
from research.runs.backend import CommandResult
from research.runs.failure import advice_on, classify, scrub
from research.runs.log import parse_text, read_log, read_summary
from research.runs.session import LaunchIO, run_command

BLOCK = """step 00001 loss 3.2
---
val_bpb:          0.997900
training_seconds: 300.1
total_seconds:    325.9
peak_vram_mb:     45060.2
mfu_percent:      39.80
total_tokens_M:   499.6
num_steps:        953
num_params_M:     50.3
depth:            8
"""


def test_a_sound_block_gives_the_nine():
    metrics = read_summary(parse_text(BLOCK)).metrics
    assert metrics is not None
    assert tuple(metrics.as_dict()) == PUBLIC_KEYS
    assert metrics.val_bpb == 0.9979
    assert metrics.num_steps == 953
    assert classify(parse_text(BLOCK), read_summary(parse_text(BLOCK))) is None


def test_own_lines_and_unknown_lines_are_welcome():
    text = BLOCK + "contract: pocket-0123456789ab\ncausal_check: pass\nsome_other: thing\n"
    summary = read_summary(parse_text(text))
    assert summary.metrics is not None
    assert summary.words == {"contract": "pocket-0123456789ab", "causal_check": "pass"}
    assert read_summary(parse_text(BLOCK + "uncounted_seconds:3.4\n")).words == {"uncounted_seconds": "3.4"}


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("---\nval_bpb: 0.991\n", "missing"),
        (BLOCK + "val_bpb: 0.5\n", "twice"),
        (BLOCK.replace("0.997900", "nan"), "finite"),
        (BLOCK.replace("0.997900", "1.2.3"), "finite"),
        (BLOCK.replace("0.997900", "-"), "finite"),
        (BLOCK.replace("0.997900", "0.000000"), "above zero"),
        (BLOCK.replace("0.997900", "-1.0"), "above zero"),
        (BLOCK.replace("953", "1e999"), "finite"),
        (BLOCK.replace("953", "953.5"), "finite"),
        (BLOCK.replace("300.1", "1e999"), "finite"),
        (BLOCK + "---\nval_bpb: 0.9\n", "missing"),
    ],
)
def test_anything_else_gives_no_metrics_and_a_reason(text, word):
    summary = read_summary(parse_text(text))
    assert summary.metrics is None
    assert word in summary.problem


def test_an_appended_crash_after_an_old_success_is_a_failure():
    text = BLOCK + "Traceback (most recent call last):\n  File \"train.py\", line 3\nKeyError: 'x'\n"
    failure = classify(parse_text(text), read_summary(parse_text(text)))
    assert failure is not None
    assert failure.signature == "KeyError: 'x'"


@given(st.text())
def test_never_raises_on_text(text):
    log = parse_text(text)
    summary = read_summary(log)
    classify(log, summary)
    classify(log, summary, 1)
    log.tail()


@given(
    st.lists(
        st.tuples(
            st.sampled_from([*PUBLIC_KEYS, *OWN_KEYS, "---", "x"]),
            st.sampled_from(["0.9", "8", "nan", "-1", "1e999", "", "pass", "9" * 5000]),
        )
    )
)
def test_metrics_exist_only_for_nine_sound_values_after_the_last_mark(pairs):
    lines = [key if key == "---" else f"{key}: {value}" for key, value in pairs]
    metrics = read_summary(parse_text("\n".join(lines))).metrics
    last = max((i for i, line in enumerate(lines) if line == "---"), default=None)
    after = [p for p in pairs[last + 1 :] if p[0] in PUBLIC_KEYS] if last is not None else []
    own = [k for k, v in (pairs[last + 1 :] if last is not None else []) if k in OWN_KEYS and v]
    given_pairs = [p for p in after if p[1]]
    sound = (
        sorted(k for k, _ in given_pairs) == sorted(PUBLIC_KEYS)
        and len(own) == len(set(own))
        and all(
            v == "8"
            or (v == "0.9" and k not in ("num_steps", "depth"))
            or (v == "-1" and k not in ("num_steps", "depth", "val_bpb"))
            for k, v in given_pairs
        )
    )
    assert (metrics is not None) == sound


def test_a_huge_log_is_read_at_its_ends_only(tmp_path: Path):
    path = tmp_path / "run.log"
    with path.open("wb") as file:
        file.write(b"first line\nsecond line\n")
        file.seek(200_000_000)
        file.write(b"\nprogress\n" * 1000)
        file.write(BLOCK.encode())
    log = read_log(path)
    assert log is not None
    assert log.head[0] == "first line"
    assert read_summary(log).metrics is not None
    assert read_log(tmp_path / "absent") is None


def test_progress_behind_carriage_returns_is_one_line():
    log = parse_text("step 1\rstep 2\rstep 3\nlast\r\n")
    assert log.lines == ("step 3", "last")


def trace(error: str, line: int = 7, path: str = "/home/a/train.py") -> str:
    where = f'  File "{path}", line {line}, in <module>'
    return f"step 00053 (1.2%)\nTraceback (most recent call last):\n{where}\n{error}\n"


def test_one_fault_has_one_signature():
    pairs = [
        ("RuntimeError: shape (3, 4) is bad at 0x7ff", "RuntimeError: shape (64, 512) is bad at 0xabc"),
        ("OSError: [Errno 2] No such file: '/home/a/b.txt'", "OSError: [Errno 2] No such file: '/x/y/c.txt'"),
        ("torch.OutOfMemoryError: Tried to allocate 2.00 GiB", "torch.OutOfMemoryError: Tried to allocate 300 MiB"),
    ]
    for one, other in pairs:
        a, b = (parse_text(trace(text, n, p)) for text, n, p in ((one, 3, "/a/train.py"), (other, 99, "/b/c/train.py")))
        assert classify(a, read_summary(a), 1).signature == classify(b, read_summary(b), 1).signature


def test_a_harmless_earlier_error_is_not_the_failure():
    log = parse_text("warn: caught ValueError: x\n" + trace("KeyError: 'lr'"))
    assert classify(log, read_summary(log), 1).signature == "KeyError: 'lr'"


def test_the_exit_code_outranks_the_text():
    log = parse_text("step 00053\n")
    summary = read_summary(log)
    assert classify(log, summary, 124, timed_out=True).signature == "timeout"
    assert classify(log, summary, 137).signature == "killed: SIGKILL"
    assert classify(log, summary, 5).kind == "nan"
    probe = parse_text("---\ncausal_check: fail\nloss_check: pass\ncontract: pocket-aa\n")
    assert classify(probe, read_summary(probe), 4).signature == "probe: causal_check"
    assert classify(parse_text(BLOCK), read_summary(parse_text(BLOCK)), 1) is not None


def test_an_empty_log_is_not_a_candidate_with_a_signature_of_its_own():
    log = parse_text("")
    assert classify(log, read_summary(log)).signature == "empty log"


def test_the_tail_is_bounded_and_without_escapes():
    text = "\n".join(parse_text("\x1b[31mred\x1b[0m\x07\n" + "x" * 10_000 + "\n\n").tail())
    assert text.startswith("red\ufffd\nxxx")
    assert "\x1b" not in text
    assert len("\n".join(parse_text("y" * 400 + "\n" + "y\n" * 1000).tail())) < 4000
    assert clean("a\u2028b") == "a\ufffdb"


def test_scrub_removes_what_differs():
    assert scrub("at 0xdeadbeef in /a/b/c.py line 12: got 3.5e-4") == "at ADDR in PATH line #: got #"
    assert scrub("(64x512 and 640x512)") == scrub("(64x512 and 128x256)")


def test_a_log_of_one_endless_line_has_a_tail(tmp_path: Path):
    path = tmp_path / "run.log"
    path.write_bytes(b"step 1 loss 2\r" * 200_000 + b"step 2 loss 3")
    log = read_log(path)
    assert log is not None
    assert list(log.tail()) == ["step 2 loss 3"]


@pytest.mark.parametrize("word", ["x", "7", ".", "a.", "0x", "-", "ptx "])
def test_a_long_line_does_not_keep_the_runner_for_hours(word: str):
    """Looking for patterns takes time with the square of a line's length: 40,000 characters took ten seconds."""
    long = word * (10**6 // len(word))
    log = parse_text(f"Traceback (most recent call last):\nValueError: {long}\n{long}\n")
    found = classify(log, read_summary(log), 1)
    assert found is not None
    assert found.signature.startswith("ValueError")
    assert read_summary(parse_text("---\nval_bpb: 1" + " " * 10**6 + "x\n")).metrics is None


# Failures of the machine ---------------------------------------------------------------------------------------------

TRACE = 'Traceback (most recent call last):\n  File "train.py", line 7, in <module>\n'
TAKEN = (
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.11 GiB of"
    " which 1.19 GiB is free. {}Of the allocated memory {} GiB is allocated by PyTorch, and 1.02 GiB is reserved."
)


@pytest.mark.parametrize(
    ("log", "kind"),
    [
        ("bash: line 1: uv: command not found\n", "uv_missing"),
        ("env: 'uv': No such file or directory\n", "uv_missing"),
        (TRACE + "RuntimeError: CUDA error: GPU has fallen off the bus\n", "gpu_lost"),
        (TRACE + "RuntimeError: No CUDA GPUs are available\n", "gpu_lost"),
        (TRACE + "OSError: [Errno 28] No space left on device\n", "disk_full"),
        (TRACE + "OSError: [Errno 30] Read-only file system: '/home/a/.cache/autoresearch/data'\n", "read_only"),
        (TRACE + TAKEN.format("Process 4242 has 61.02 GiB memory in use. ", 15.9), "gpu_taken"),
        (TRACE + TAKEN.format("Process 7 has 40.0 GiB memory in use. Process 8 has 37.0 GiB memory in use. ", 36.0),
         "gpu_taken"),  # one of the two is itself, not both
        (
            TRACE
            + TAKEN.format("Process 7 has 17.0 GiB memory in use. Including more, this process has 60.0 GiB"
                           " memory in use. ", 58.9),
            "gpu_taken",
        ),
        (TRACE + "RuntimeError: CUDA error: unknown error\nCUDA kernel errors might be reported later\n", "cuda"),
        (TRACE + "RuntimeError: cudaGetDeviceCount failed. Error 999\n", "cuda"),
        (TRACE + "RuntimeError: ptxas fatal   : Value 'sm_100a' is not defined for option 'gpu-name'\n", "toolchain"),
        (TRACE + "ModuleNotFoundError: No module named 'torch'\n", "package_missing"),
    ],
)  # fmt: skip
def test_what_the_machine_does_is_no_fault_of_a_candidate(log: str, kind: str):
    for text in (log, "".join(f"[rank0]: {line}\n" for line in log.splitlines())):
        failure = classify(parse_text(text), read_summary(parse_text(text)), 1)
        assert failure is not None
        assert (failure.kind, failure.machine, bool(advice_on(failure))) == (kind, True, True)


@pytest.mark.parametrize(
    ("log", "kind"),
    [
        (trace("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has"), "oom"),
        (trace("RuntimeError: CUDA out of memory."), "oom"),
        (trace("AssertionError: total batch size"), "assertion"),
        (trace("AssertionError"), "assertion"),
        (trace("RuntimeError: mat1 and mat2 shapes cannot be multiplied (64x512 and 640x512)"), "shape"),
        (trace("RuntimeError: The size of tensor a (3) must match the size of tensor b (4)"), "shape"),
        (trace("ValueError: loss is nan"), "nan"),
        (trace("NameError: name 'nan' is not defined"), "unknown"),
        (trace("KeyError: 'x'"), "unknown"),
        (TRACE + TAKEN.format("Process 99 has 77.9 GiB memory in use. ", 75.0), "oom"),  # itself, in a container
        (TRACE + TAKEN.format("this process has 77.9 GiB memory in use. ", 75.0), "oom"),
        (
            TRACE + "triton.runtime.errors.OutOfResources: out of resource: shared memory, Required: 278528, Hardware "
            "limit: 232448. Reducing block sizes or `num_stages` may help.\n",
            "kernel",
        ),
        (TRACE + "RuntimeError: CUDA error: an illegal memory access was encountered\n", "kernel"),
        (TRACE + "RuntimeError: CUDA error: unspecified launch failure\n", "kernel"),
        (TRACE + "ModuleNotFoundError: No module named 'flash_attn'\n", "import"),
        ("[rank0]: " + TRACE.replace("\n  ", "\n[rank0]:   ") + "[rank0]: KeyError: 'lr'\n", "unknown"),
    ],
)
def test_what_a_candidate_does_is_its_own(log: str, kind: str):
    failure = classify(parse_text(log), read_summary(parse_text(log)), 1)
    assert failure is not None
    assert (failure.kind, failure.machine, advice_on(failure)) == (kind, False, "")


def test_an_output_without_end_fills_no_disk(tmp_path: Path):
    class Flood:
        def run(self, launch: object, emit: Callable[[bytes], None], say: object, stop: object) -> CommandResult:
            for _ in range(SETTINGS.max_output_bytes // 1_000_000 + 3):
                emit(b"x" * 999_999 + b"\n")
            return CommandResult("finished", 0, 0)

    log, stream = tmp_path / "run.log", io.BytesIO()
    told = LaunchIO(stream, say=print, stop=cast(Any, None), now_utc=str)
    assert run_command(cast(Any, Flood()), cast(Any, None), log, told).exit_code == 0
    assert log.read_bytes() == stream.getvalue()
    cut = b"\n[run] more than 32 MiB were printed; the rest is left out\n"
    assert stream.getvalue().endswith(b"x" + cut)
    assert log.stat().st_size == SETTINGS.max_output_bytes + len(cut)
