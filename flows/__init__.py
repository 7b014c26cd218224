"""The flow, and how it is run: in this process, against a Prefect API that is there or started for it."""

import os
import sys
import warnings

# Prefect takes its settings from the environment when it is first imported, so its manners are set here,
# before any module of this package can import it. Defaults only: what the operator sets wins. Where Prefect
# came first (a worker, the `prefect` command) the process is Prefect's own and looks as Prefect decides.
if "prefect" not in sys.modules:
    for _name, _value in {
        # Nobody is told anything: the client's and the server's telemetry.
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # Prefect's log goes to its UI, not to our terminal; what a person must know, we say ourselves.
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
        "PREFECT_LOGGING_INTERNAL_LEVEL": "CRITICAL",
    }.items():
        os.environ.setdefault(_name, _value)
    # A home that can't be written (a read-only container) is dealt with where the server is started.
    warnings.filterwarnings("ignore", message="Failed to create the Prefect home directory")
