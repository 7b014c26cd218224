"""The ledger: the record of runs, of their alerts and of people's decisions, in SQLite or PostgreSQL.

`Ledger` writes; its `history` reads and returns views. No other package uses a row or a statement.
"""

from core.ledger.database import try_write as try_write
from core.ledger.history import History as History
from core.ledger.ledger import Ledger as Ledger
from core.ledger.ledger import open_ledger as open_ledger
from core.ledger.liveness import ProcessIdentity as ProcessIdentity
from core.ledger.liveness import kept_alive as kept_alive
from core.ledger.liveness import this_process as this_process
from core.ledger.sqlite import warning_about as warning_about
from core.ledger.statistics import ledger_gauges as ledger_gauges
from core.ledger.views import *
