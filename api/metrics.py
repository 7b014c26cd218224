"""What Prometheus scrapes."""

from concurrent.futures import ThreadPoolExecutor

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, generate_latest

from core.domain import LedgerError
from core.ledger import LedgerCollector, LedgerStatistics, open_ledger
from core.runtime import PROCESS, Settings

LEDGER_SECONDS = 3
"""The longest that a scrape waits for the ledger; Prometheus itself gives up after 10 s by default."""

router = APIRouter(tags=["metrics"])


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {
            "description": "Prometheus text format: runs and outcomes as the ledger has them; rows scanned,"
            " seconds by step and deliveries by answer of this process.",
            "content": {CONTENT_TYPE_PLAIN_0_0_4: {"schema": {"type": "string"}}},
        }
    },
)
def metrics(request: Request) -> Response:
    """Give the metrics; a ledger that can't be read is `risk_alerts_ledger_up 0`, and no error."""
    state = request.app.state
    scrape = CollectorRegistry()
    scrape.register(PROCESS)
    scrape.register(LedgerCollector(_statistics(state.scrapes, state.settings)))
    return Response(generate_latest(scrape), media_type=CONTENT_TYPE_PLAIN_0_0_4)


def _statistics(scrapes: ThreadPoolExecutor, settings: Settings) -> LedgerStatistics | None:
    read = scrapes.submit(_read, settings.database_url)
    try:
        return read.result(LEDGER_SECONDS)
    except LedgerError:
        return None
    except TimeoutError:
        # It goes on in its one thread. One that waits behind it is not begun, or they would pile up.
        read.cancel()
        return None


def _read(database_url: str) -> LedgerStatistics:
    return open_ledger(database_url).history.statistics()
