"""The command `risk-alerts`: its commands, and how what they found looks on a terminal."""
