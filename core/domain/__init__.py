"""The values and rules of the domain, without any database, network or web framework."""

from core.domain.alerts import *
from core.domain.counts import *
from core.domain.errors import *
from core.domain.months import *
from core.domain.reasons import *
from core.domain.replay import *
from core.domain.runs import *
from core.domain.text import *
