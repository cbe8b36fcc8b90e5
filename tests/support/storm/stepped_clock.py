"""`service` with a clock that the file of the first argument moves, by so many seconds.

So a storm steps the clock of one process: service/clock.py is the one that the service asks.
"""

import os
import sys
from datetime import datetime, timedelta

from service import clock
from service.cli import main

real, file = clock.now, os.open(sys.argv.pop(1), os.O_RDONLY)


def now() -> datetime:
    """Return the time, as far off as the file says."""
    return real() + timedelta(seconds=float(os.pread(file, 20, 0)))


clock.now = now
main()
