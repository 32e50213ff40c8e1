"""What Codex's five hooks do: show what was recorded, guard what is fixed, and give the next order. They record nothing
that anything else depends on."""
