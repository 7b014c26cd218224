"""Parquet as this project reads it: footers, byte ranges, columns in any type, and their rows."""
