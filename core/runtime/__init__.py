"""Helpers that every room may use: text for people."""

from core.runtime.text import at_risk_for, money, months, one_line

__all__ = ["at_risk_for", "money", "months", "one_line"]
