"""Helpers that every room may use: text for people."""

from core.runtime.text import money, months, one_line

__all__ = ["money", "months", "one_line"]
