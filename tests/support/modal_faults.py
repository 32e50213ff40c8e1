"""What the Modal stand-in can be told to get wrong, one switch per fault."""

from __future__ import annotations

from dataclasses import dataclass, field

FOREVER = 10**9


@dataclass
class Faults:
    """Switches; all off is a service without faults. Counters count down as they are played.

    Attributes:
        refuse_token: Every call is unauthenticated.
        create_fails: Creations that fail before anything is made.
        create_lost: Creations whose answer is lost after the sandbox was made.
        create_refused: Text of an invalid-argument answer to every creation, "" for none.
        image_fails: The image's build ends in failure.
        gpu_late_s: Seconds until a sandbox gets its GPU.
        wait_fails: Questions after a sandbox's state that fail.
        terminate_fails: Terminations that fail.
        list_fails: Questions after the running sandboxes that fail.
        logs_refused: Log streams that fail before the first line.
        logs_break_every: Lines after which each log stream breaks; 0 for never.
        logs_never_end: The log stream stays open after the sandbox's end.
        logs_stall: Log streams that fall silent after five lines and stay open.
        log_lost: A line of the log that contains this never arrives, "" for none.
        die_after_lines: Lines of output after which the sandbox dies; None for never, 0 for before the first.
        die_times: How many sandboxes die so.
        die_status: Name of the status it then has; die_exit_code the exit code.
        hang_after_lines: Lines of output after which everything in the sandbox stands still; None for never.
        volume_slow_s: Seconds that every volume call takes longer.
        block_put_fails: Block uploads that fail.
        device: What nvidia-smi prints; "" leaves the sandbox without one.
        spoil: Path in a mounted volume whose content is altered in the sandbox, "" for none.
    """

    refuse_token: bool = False
    create_fails: int = 0
    create_lost: int = 0
    create_refused: str = ""
    image_fails: bool = False
    gpu_late_s: float = 0.0
    wait_fails: int = 0
    terminate_fails: int = 0
    list_fails: int = 0
    logs_refused: int = 0
    logs_break_every: int = 0
    logs_never_end: bool = False
    logs_stall: int = 0
    log_lost: str = ""
    die_after_lines: int | None = None
    die_times: int = FOREVER
    die_status: str = "INTERNAL_FAILURE"
    die_exit_code: int = 0
    hang_after_lines: int | None = None
    volume_slow_s: float = 0.0
    block_put_fails: int = 0
    device: str = "NVIDIA H100 80GB HBM3, 570.86"
    spoil: str = ""

    def play(self, name: str) -> bool:
        """Whether a counted fault is due now; counts it down."""
        left = getattr(self, name)
        if left > 0:
            setattr(self, name, left - 1)
        return bool(left > 0)


@dataclass
class Counts:
    """What the stand-in saw, for tests to ask."""

    calls: dict[str, int] = field(default_factory=dict)
    blocks_put: int = 0

    def of(self, name: str) -> int:
        """How often an RPC was called."""
        return self.calls.get(name, 0)
