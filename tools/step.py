"""Run one step of the Makefile: say what it is, how long it took, and whether it worked.

    python3 tools/step.py "Install the packages" -- pip install ...

Only the standard library is used: this runs before anything is installed. The times of all steps of
one `make` are kept in .make/times.tsv; `python3 tools/step.py --summary` prints them.
"""

import subprocess
import sys
import time
from pathlib import Path

TIMES = Path(".make/times.tsv")


def clock(seconds: float) -> str:
    """1.2 s, 45 s, 2 min 05 s."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"


def run(title: str, command: list[str]) -> int:
    print(f"\n==> {title}", flush=True)
    start = time.monotonic()
    try:
        code = subprocess.run(command, check=False).returncode
    except KeyboardInterrupt:
        print(f"\n==> {title}: interrupted; the same command goes on from here", flush=True)
        return 130
    except FileNotFoundError as error:
        print(f"==> {title}: {error.filename} is not installed", file=sys.stderr)
        return 127
    taken = time.monotonic() - start
    outcome = "done in" if code == 0 else f"FAILED (exit code {code}) after"
    print(f"==> {title}: {outcome} {clock(taken)}", flush=True)
    TIMES.parent.mkdir(exist_ok=True)
    with TIMES.open("a") as file:
        file.write(f"{title}\t{taken:.1f}\t{code}\n")
    return code


def summary() -> int:
    if not TIMES.exists():
        print("Nothing changed since it last passed: nothing to do.")
        return 0
    rows = [line.split("\t") for line in TIMES.read_text().splitlines()]
    total = sum(float(taken) for _, taken, _ in rows)
    width = max(len(title) for title, _, _ in rows)
    print("\nTime of each step")
    for title, taken, _ in rows:
        print(f"  {title:<{width}}  {clock(float(taken)):>12}")
    print(f"  {'total':<{width}}  {clock(total):>12}")
    TIMES.unlink()
    return 0


if __name__ == "__main__":
    if sys.argv[1:] == ["--summary"]:
        sys.exit(summary())
    if len(sys.argv) < 4 or sys.argv[2] != "--":
        sys.exit('usage: step.py "TITLE" -- COMMAND [ARGUMENT ...]')
    sys.exit(run(sys.argv[1], sys.argv[3:]))
