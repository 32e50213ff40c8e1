"""``python -m research`` is the ``research`` command."""

from research.cli.main import main

main()
