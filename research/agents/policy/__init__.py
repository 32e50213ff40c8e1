"""The command policy: what a coding agent may type and edit here, each refusal with what to do instead."""
