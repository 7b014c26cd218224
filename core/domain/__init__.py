"""The words of the domain and its rules, without any database, network or framework.

`alerts` is what an alert is and what became of it, `runs` what a run is asked and how it adds up, `replay`
what a run may do with an alert that is on record, `resolution` what a person decides, `reasons` what each
reason means and what to do about it, `months` the arithmetic of months, `errors` everything that can stop a
run.
"""

from core.domain import alerts, errors, months, reasons, replay, resolution, runs
from core.domain.alerts import *
from core.domain.errors import *
from core.domain.months import *
from core.domain.reasons import *
from core.domain.replay import *
from core.domain.resolution import *
from core.domain.runs import *

__all__ = []
__all__ += alerts.__all__
__all__ += errors.__all__
__all__ += months.__all__
__all__ += reasons.__all__
__all__ += replay.__all__
__all__ += resolution.__all__
__all__ += runs.__all__
