"""The command line `risk-alerts`: its commands, their output on a terminal, and their exit codes."""
