"""From a commit to numbers: preflight, launching and watching, backends, the grammar of a run's log."""
