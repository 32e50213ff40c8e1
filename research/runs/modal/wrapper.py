"""What runs inside the sandbox around the command: one bash text, and the grammar of the marked lines it prints.

The text names no place by itself: folders come by environment variables and the working directory, so that the same
text runs in a container and, in tests, in a temporary folder. The mark is random and reaches the script by a pipe that
is read empty before the command starts: it stands in no argument list and no environment that the command could read.
A command that reads its parent's memory can still find it; this guards against accidents, not against attackers.
"""

from __future__ import annotations

import secrets
from typing import Final

SCORE_LIMIT_BYTES: Final = 8 * 1024 * 1024
"""Largest score.json brought back: a real one is under 100 kB, a log stream is no place for more."""
SCORE_LINE_CHARS: Final = 1024
"""base64 characters a line: well under what a pipe writes in one piece, so no other output cuts a line in two."""

ENV_SEALED: Final = "AUTORESEARCH_SEALED"  # the read-only data, "" for none
ENV_SEALED_HF: Final = "AUTORESEARCH_SEALED_HF"  # the read-only kernels, "" for none

# Words after the mark.
DEVICE: Final = "device"
STARTED: Final = "started"
FAULT: Final = "fault"
SCORE: Final = "score"
END: Final = "end"
NO_SCORE: Final = "none"

LIST_FILE: Final = ".verify"  # what to hash again in the sandbox, in sha256sum's own format
TIMES_FILE: Final = ".times"  # "SECONDS.NANOSECONDS path" of files whose time of change must survive the journey

_OUTER: Final = 'inner=$1 mark=$2; shift 2; exec bash -c "$inner" sandbox "$@" 3<<<"$mark" 2>&1'

_INNER: Final = r"""
read -r mark <&3; exec 3<&-
limit=$1 kill_after=$2 data_list=$3 hf_list=$4; shift 4
say() { printf '%s %s\n' "$mark" "$*"; }
give_up() { say "@FAULT@ $*"; exit 75; }

say "@DEVICE@ $(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null | head -n 1)"

# A writable folder of links to sealed files: what the command adds or replaces stays in this sandbox.
unseal() {
  local sealed=$1 expected=$2 open when path
  [ "$(sha256sum < "$sealed/@LIST@" | cut -c 1-64)" = "$expected" ] || return 1
  (cd "$sealed" && sha256sum --check --strict --quiet @LIST@) > /dev/null 2>&1 || return 1
  open=$(mktemp -d) && cp -rs "$sealed/." "$open" || return 1
  while read -r when path; do
    cp --remove-destination "$sealed/$path" "$open/$path" && touch -d "@$when" "$open/$path" || return 1
  done < "$sealed/@TIMES@"
  printf '%s' "$open"
}
if [ -n "$@ENV_SEALED@" ]; then
  AUTORESEARCH_HOME=$(unseal "$@ENV_SEALED@" "$data_list") || give_up "the data in the sandbox is not what was uploaded"
  export AUTORESEARCH_HOME
fi
if [ -n "$@ENV_SEALED_HF@" ]; then
  HF_HOME=$(unseal "$@ENV_SEALED_HF@" "$hf_list") || give_up "the kernels in the sandbox are not what was uploaded"
  export HF_HOME HF_HUB_OFFLINE=1 HF_HUB_DISABLE_IMPLICIT_TOKEN=1
fi
AUTORESEARCH_RUN_DIR=$(mktemp -d) || give_up "the sandbox has no writable folder"
export AUTORESEARCH_RUN_DIR PYTHONUNBUFFERED=1

say "@STARTED@"
began=${EPOCHREALTIME/[.,]/}
timeout -k "$kill_after" "$limit" "$@" < /dev/null &
child=$!
{ wait "$child"; } 2> /dev/null; code=$?
took=$(( ${EPOCHREALTIME/[.,]/} - began ))
# timeout leads the command's process group; what the command left behind must not write on.
kill -KILL -- "-$child" 2> /dev/null

file=$AUTORESEARCH_RUN_DIR/score.json sum=@NO_SCORE@ lines=0
if [ -f "$file" ]; then
  sum=oversize
  if [ "$(stat -L -c %s "$file")" -le @LIMIT@ ]; then
    sum=$(sha256sum < "$file" | cut -c 1-64)
    while IFS= read -r line; do
      say "@SCORE@ $lines $line"; lines=$((lines + 1))
    done < <(base64 -w @CHARS@ "$file")
  fi
fi
say "@END@ $code $took $sum $lines"
exit "$code"
"""


def script() -> str:
    """The bash text that prepares the sandbox, runs the command and prints the marks."""
    text = _INNER
    for name, value in (
        ("ENV_SEALED_HF", ENV_SEALED_HF),
        ("ENV_SEALED", ENV_SEALED),
        ("DEVICE", DEVICE),
        ("STARTED", STARTED),
        ("FAULT", FAULT),
        ("NO_SCORE", NO_SCORE),
        ("SCORE", SCORE),
        ("END", END),
        ("LIST", LIST_FILE),
        ("TIMES", TIMES_FILE),
        ("LIMIT", str(SCORE_LIMIT_BYTES)),
        ("CHARS", str(SCORE_LINE_CHARS)),
    ):
        text = text.replace(f"@{name}@", value)
    return text


def new_mark() -> str:
    """A mark nobody can guess."""
    return f"::autoresearch:{secrets.token_hex(16)}:"


def entrypoint(
    mark: str, command: tuple[str, ...], timeout_s: float, kill_after_s: float, data_list: str, hf_list: str
) -> tuple[str, ...]:
    """The sandbox's arguments.

    Args:
        mark: From new_mark().
        command: The command, word by word.
        timeout_s: Seconds it may take; kill_after_s more until it is killed.
        data_list: sha256 of the data's list file, "" without data; hf_list the same for the kernels.
    """
    limits = (f"{timeout_s:.3f}", f"{kill_after_s:.3f}", data_list, hf_list)
    return ("bash", "-c", _OUTER, "sandbox", script(), mark, *limits, *command)
