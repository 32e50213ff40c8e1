"""The Modal backend: runs the command on a remote GPU with live output and nothing left behind."""
