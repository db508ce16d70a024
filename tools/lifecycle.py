"""Run the tests of the life cycle, and write what came of it.

    python -m tools.lifecycle OUT [OPTIONS OF PYTEST]

They take minutes and are run once per release (`make test-lifecycle`). OUT gets a line per test.
"""

import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

from cellcount_lib.files import write_whole
from cellcount_lib.machine import processor, version


def lines(report: str) -> list[str]:
    """Return a line per test of a report in JUnit's format: what came of it, and what it found."""
    found = []
    for case in ElementTree.fromstring(report).iter("testcase"):
        said = "passed"
        for kind in ("failure", "error", "skipped"):
            if (other := case.find(kind)) is not None:
                said = f"{kind}: {(other.get('message') or '').splitlines()[0][:200]}"
        about = [f"{p.get('name')} {p.get('value')}" for p in case.iter("property")]
        name = f"{case.get('classname', '').split('.')[-1]}::{case.get('name')}"
        text = f"{name}: {said}, {float(case.get('time', 0)):.0f} s"
        found.append(f"- {text}{'; ' if about else ''}{', '.join(about)}")
    return found


def main() -> None:
    out = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-m", "lifecycle", "tests/service"]
        arguments = [f"--junitxml={report}", "-o", "junit_family=xunit1", *sys.argv[2:]]
        done = subprocess.run([*command, *arguments], check=False)
        found = lines(report.read_text())
    asked = " ".join(["python -m tools.lifecycle OUT", *sys.argv[2:]])
    when = f"{datetime.now(UTC):%Y-%m-%d}, cellcount-book {version('cellcount-book')}"
    head = ["# The life cycle of the service", "", f"`{asked}`; {when}; {processor()}"]
    write_whole(out, "\n".join([*head, "", *found]) + "\n")
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
