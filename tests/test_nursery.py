"""Processes of tests do not mix what they print."""

LEAVES_ONE = """
import os, time
if os.fork() == 0:
    time.sleep(0.3)
    os.write(2, b"a line of the one before")
    os._exit(0)
"""
WAITS = "import sys, time; time.sleep(0.6); print('its own', file=sys.stderr)"


def test_what_a_child_leaves_behind_writes_nowhere_else(nursery):
    assert nursery.run(LEAVES_ONE).stderr == ""
    assert nursery.run(WAITS).stderr == "its own\n"
