"""Stands before a package that only the development tools bring along, and is as absent as where we run.

Where it is installed, jsonschema, and with it Prefect, imports it: two seconds of a processor for its
grammar, in every process that a test starts.
"""

raise ImportError("not among requirements/runtime.txt")
