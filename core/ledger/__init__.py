"""The ledger: the record of runs, of their alerts and of people's decisions, in SQLite or PostgreSQL.

`Ledger` writes; its `history` reads and returns views. No other package uses a row or a statement.
"""

from core.ledger.database import try_write
from core.ledger.history import History
from core.ledger.ledger import Ledger, known_deliveries, open_ledger
from core.ledger.liveness import kept_alive, this_process
from core.ledger.sqlite import container_warning
from core.ledger.views import AlertPage, ChannelTable, OutcomePage, OutcomeView, RunPage, RunView
