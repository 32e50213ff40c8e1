"""Wraps the command in the sandbox, and reads the one stream of its output here, in order and exactly once.

The wrapper is a bash text that prints marked lines among the command's output. It names no place by itself: folders
come by environment variables and the working directory, so that the same text runs in a container and, in tests, in a
temporary folder. The mark is random and reaches the script by a pipe that is read empty before the command starts: it
is in no argument list and no environment that the command could read. A command that reads its parent's memory can
still find it; this guards against accidents, not against attackers.

Only the wrapper's last line makes a result: without it a run was not seen to end, whatever the service reports.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import secrets
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final

from research.runs.modal.client import cancel, describe

# ---------------------------------------------------------------------------------------------------------------
# In the sandbox; the script below knows these names

ENV_SEALED: Final = "AUTORESEARCH_SEALED"  # the read-only data, "" for none
ENV_SEALED_HF: Final = "AUTORESEARCH_SEALED_HF"  # the read-only kernels, "" for none
LIST_FILE: Final = ".verify"  # what to hash again in the sandbox, in sha256sum's own format
TIMES_FILE: Final = ".times"  # "SECONDS.NANOSECONDS path" of files whose time of change must survive the journey
NO_SCORE: Final = "none"

_OUTER: Final = 'inner=$1 mark=$2; shift 2; exec bash -c "$inner" sandbox "$@" 3<<<"$mark" 2>&1'

_SCRIPT: Final = r"""
read -r mark <&3; exec 3<&-
limit=$1 kill_after=$2 data_list=$3 hf_list=$4; shift 4
say() { printf '%s %s\n' "$mark" "$*"; }
give_up() { say "fault $*"; exit 75; }

say "device $(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null | head -n 1)"

# A writable folder of links to sealed files: what the command adds or replaces stays in this sandbox.
unseal() {
  local sealed=$1 expected=$2 open when path
  [ "$(sha256sum < "$sealed/.verify" | cut -c 1-64)" = "$expected" ] || return 1
  (cd "$sealed" && sha256sum --check --strict --quiet .verify) > /dev/null 2>&1 || return 1
  open=$(mktemp -d) && cp -rs "$sealed/." "$open" || return 1
  while read -r when path; do
    cp --remove-destination "$sealed/$path" "$open/$path" && touch -d "@$when" "$open/$path" || return 1
  done < "$sealed/.times"
  printf '%s' "$open"
}
if [ -n "$AUTORESEARCH_SEALED" ]; then
  AUTORESEARCH_HOME=$(unseal "$AUTORESEARCH_SEALED" "$data_list") ||
    give_up "the data in the sandbox is not what was uploaded"
  export AUTORESEARCH_HOME
fi
if [ -n "$AUTORESEARCH_SEALED_HF" ]; then
  HF_HOME=$(unseal "$AUTORESEARCH_SEALED_HF" "$hf_list") ||
    give_up "the kernels in the sandbox are not what was uploaded"
  export HF_HOME HF_HUB_OFFLINE=1 HF_HUB_DISABLE_IMPLICIT_TOKEN=1
fi
AUTORESEARCH_RUN_DIR=$(mktemp -d) || give_up "the sandbox has no writable folder"
export AUTORESEARCH_RUN_DIR PYTHONUNBUFFERED=1

say "started"
began=${EPOCHREALTIME/[.,]/}
timeout -k "$kill_after" "$limit" "$@" < /dev/null &
child=$!
{ wait "$child"; } 2> /dev/null; code=$?
took=$(( ${EPOCHREALTIME/[.,]/} - began ))
# timeout leads the command's process group; what the command left behind must not write on.
kill -KILL -- "-$child" 2> /dev/null

# A real score is under 100 kB; 1024 characters a line are well under what a pipe writes in one piece, so that no other
# output cuts a line in two.
file=$AUTORESEARCH_RUN_DIR/score.json sum=none
if [ -f "$file" ]; then
  sum=oversize
  if [ "$(stat -L -c %s "$file")" -le 8388608 ]; then
    sum=$(sha256sum < "$file" | cut -c 1-64)
    while IFS= read -r line; do say "score $line"; done < <(base64 -w 1024 "$file")
  fi
fi
say "end $code $took $sum"
exit "$code"
"""


def new_mark() -> str:
    """Return a random mark, which nobody can guess."""
    return f"::autoresearch:{secrets.token_hex(16)}:"


def entrypoint(
    mark: str, command: tuple[str, ...], timeout_s: float, kill_after_s: float, data_list: str, hf_list: str
) -> tuple[str, ...]:
    """Return the sandbox's arguments; the lists are sha256 of the list files of data and kernels, "" without any."""
    limits = (f"{timeout_s:.3f}", f"{kill_after_s:.3f}", data_list, hf_list)
    return ("bash", "-c", _OUTER, "sandbox", _SCRIPT, mark, *limits, *command)


# ---------------------------------------------------------------------------------------------------------------
# Here


class Parser:
    """Cuts a stream of text into the command's output and our marks; its attributes hold what the marks said so far."""

    def __init__(self, mark: str) -> None:
        self.runs = False  # whether the container runs
        self.device: str | None = None
        self.driver = ""
        self.started = False  # whether the command has started
        self.fault = ""  # why the wrapper gave up before the command, "" if it did not
        self.code: int | None = None  # the command's exit code, 128+N for signal N; None until the wrapper's last line
        self.took_s = 0.0
        self.score_sha256 = NO_SCORE  # another word where it could not be sent
        self._score = ""  # in base64
        self._mark = mark
        self._rest = ""

    @property
    def is_over(self) -> bool:
        """Return whether the wrapper's last line has arrived."""
        return self.code is not None or bool(self.fault)

    def feed(self, text: str) -> str:
        """Take the next piece of the stream; return the command's output in its whole lines."""
        *lines, self._rest = (self._rest + text).split("\n")
        return "".join(self._line(line, "\n") for line in lines)

    def flush(self) -> str:
        """Take the end of the stream; return the output that was held back."""
        rest, self._rest = self._rest, ""
        return self._line(rest, "") if rest else ""

    def score(self) -> bytes | None:
        """Return the score.json that came with the stream, None if there was none or it is damaged."""
        try:
            data = base64.b64decode(self._score, validate=True)
        except binascii.Error:
            return None
        return data if hashlib.sha256(data).hexdigest() == self.score_sha256 else None

    def _line(self, line: str, newline: str) -> str:
        if self.code is not None:
            return ""  # nothing that belongs to the command comes after its end
        before, found, said = line.partition(self._mark)
        if not found:
            return line + newline
        if newline:  # else the sandbox died in the middle of it
            self._take(said.strip())
        return before

    def _take(self, said: str) -> None:
        self.runs = True
        word, _, rest = said.partition(" ")
        words = rest.split()
        if word == "device":
            name, _, driver = rest.partition(",")
            self.device, self.driver = name.strip() or None, driver.strip()
        elif word == "started":
            self.started = True
        elif word == "fault":
            self.fault = rest
        elif word == "score":
            self._score += rest
        elif word == "end" and len(words) == 3 and words[0].isdigit() and words[1].isdigit():
            self.code, self.took_s, self.score_sha256 = int(words[0]), int(words[1]) / 1e6, words[2]


class LogReader:
    """Reads a sandbox's log in a task of its own.

    A log stream that breaks is opened again from its beginning after a pause; what was handed on already is skipped.
    """

    def __init__(self, open_log: Callable[[], AsyncGenerator[str, None]], pause_s: float) -> None:
        self.passes = 0  # how often the log was read to its end
        self.trouble = ""  # what went wrong last, for people
        self._open, self._pause_s = open_log, pause_s
        self._fresh, self._chars = "", 0
        self.start()

    def start(self) -> None:
        """Read by a new connection."""
        self._task: asyncio.Task[None] | None = asyncio.ensure_future(self._read())

    async def close(self, wait_s: float) -> None:
        """Stop reading, and wait up to that many seconds until the stream is closed."""
        task, self._task = self._task, None
        if task is not None:
            await cancel(task, wait_s)

    def take(self) -> str:
        """Return what came since the last call."""
        text, self._fresh = self._fresh, ""
        return text

    async def _read(self) -> None:
        me = asyncio.current_task()
        while self._task is me:  # a client may make an error of its own of a cancellation
            try:
                skip = self._chars
                async with aclosing(self._open()) as pieces:
                    async for text in pieces:
                        if self._task is not me:
                            return
                        fresh, skip = text[skip:], max(0, skip - len(text))
                        self._chars += len(fresh)
                        self._fresh += fresh
                self.passes, self.trouble = self.passes + 1, ""
            except Exception as error:
                # Whatever the client raises here, the run goes on: the end mark or the deadline decides.
                self.trouble = describe(error)
            await asyncio.sleep(self._pause_s)
