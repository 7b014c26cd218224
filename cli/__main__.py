"""`python -m cli` is `risk-alerts`."""

from cli.commands import main

main()
