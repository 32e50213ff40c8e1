#!/bin/sh
# Starts one hook: sh .codex/hooks/hook.sh NAME, with the client's payload on stdin. All five commands of hooks.json
# call it, and clients trust those by their text, so changes belong here. Hooks fail open: whatever goes wrong is a
# line in results/discovery/hooks.log and exit 0, since clients take other codes for a refusal.
case $0 in /*) root=$0 ;; *) root=$PWD/$0 ;; esac
root=${root%/.codex/hooks/*}
python=$root/.venv/bin/python
[ -x "$python" ] || python=python3
"$python" -I "$root/research/agents/hooks/__main__.py" "$1" && exit 0
code=$?
mkdir -p "$root/results/discovery" &&
    echo "$(date -u +%Y-%m-%dT%H:%M:%SZ) $1: $python ended with $code" >>"$root/results/discovery/hooks.log"
exit 0
