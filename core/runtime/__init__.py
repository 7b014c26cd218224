"""Settings, the environment, logs, redaction, metrics and the stop signal; every package uses them."""

from core.runtime.environment import *
from core.runtime.logs import *
from core.runtime.metrics import *
from core.runtime.redaction import *
from core.runtime.settings import *
from core.runtime.stopping import *
from core.runtime.text import *
from core.runtime.threads import *
from core.runtime.urls import *
from core.runtime.validation import *
