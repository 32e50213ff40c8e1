"""Defines the command policy: what a coding agent may type and edit, each refusal with what to do instead."""
