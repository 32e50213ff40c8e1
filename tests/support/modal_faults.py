"""What the Modal stand-in can be told to get wrong, one switch per fault."""

from __future__ import annotations

from dataclasses import dataclass, field

FOREVER = 10**9


@dataclass
class Faults:
    """Switches; all off is a service without faults. Counters count down as they are played."""

    refuse_token: bool = False  # every call is unauthenticated
    create_fails: int = 0  # creations that fail before anything is made
    create_lost: int = 0  # creations whose answer is lost after the sandbox was made
    create_refused: str = ""  # text of an invalid-argument answer to every creation, "" for none
    image_fails: bool = False  # whether the image's build ends in failure
    gpu_late_s: float = 0.0  # seconds until a sandbox gets its GPU
    wait_fails: int = 0  # questions after a sandbox's state that fail
    terminate_fails: int = 0  # terminations that fail
    list_fails: int = 0  # questions after the running sandboxes that fail
    logs_refused: int = 0  # log streams that fail before the first line
    logs_break_every: int = 0  # lines after which each log stream breaks; 0 for never
    logs_never_end: bool = False  # whether the log stream stays open after the sandbox's end
    logs_stall: int = 0  # log streams that fall silent after five lines and stay open
    log_lost: str = ""  # a line of the log that contains this never arrives, "" for none
    die_after_lines: int | None = None  # lines of output after which the sandbox dies; 0 for before the first
    die_times: int = FOREVER  # how many sandboxes die so
    die_status: str = "INTERNAL_FAILURE"  # name of the status that it then has
    die_exit_code: int = 0
    hang_after_lines: int | None = None  # lines of output after which everything in the sandbox stands still
    volume_slow_s: float = 0.0  # seconds that every volume call takes longer
    block_put_fails: int = 0  # block uploads that fail
    device: str = "NVIDIA H100 80GB HBM3, 570.86"  # what nvidia-smi prints; "" leaves the sandbox without one
    spoil: str = ""  # path in a mounted volume whose content is altered in the sandbox, "" for none

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
