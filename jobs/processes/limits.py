"""Limits of the operating system, for processes that work on what others supply.

Kept apart from `jobs.processes.limited_process`, which starts such processes and imports more: a
query of the SQL console waits for its process to import this.
"""

from __future__ import annotations

import resource
from collections.abc import Mapping


def limit_process(limits: Mapping[int, int]) -> None:
    """Limit this process, by the constants `resource.RLIMIT_*`; it writes no core dumps."""
    for what, most in {**limits, resource.RLIMIT_CORE: 0}.items():
        _, hard = resource.getrlimit(what)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        # SIGKILL would look like one from outside; SIGXCPU, a second earlier, does not.
        soft = max(most - 1, 1) if what == resource.RLIMIT_CPU else most
        resource.setrlimit(what, (soft, most))
