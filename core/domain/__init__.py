"""The values and rules of the domain, without any database, network or framework."""

from core.domain import alerts, counts, errors, months, reasons, replay, resolution, runs
from core.domain.alerts import *
from core.domain.counts import *
from core.domain.errors import *
from core.domain.months import *
from core.domain.reasons import *
from core.domain.replay import *
from core.domain.resolution import *
from core.domain.runs import *

__all__ = []
__all__ += alerts.__all__
__all__ += counts.__all__
__all__ += errors.__all__
__all__ += months.__all__
__all__ += reasons.__all__
__all__ += replay.__all__
__all__ += resolution.__all__
__all__ += runs.__all__
