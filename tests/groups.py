"""Which tests one worker gets together: those that share something costly.

The mark `xdist_group` of pytest-xdist 3.8 is without effect under pytest 9.2, and the marks of
files are not asked for by name; so the groups are made here.
"""

from collections.abc import Callable
from typing import Any

import pytest


def groups(config: pytest.Config, log: Any, group_of: Callable[[str], str]) -> Any:
    """Make a scheduler that keeps together what `group_of` gives one name."""
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    config.option.loadscopereorder = False  # the order is that of the tests
    return Groups(config, log)
