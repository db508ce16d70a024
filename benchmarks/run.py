"""``make bench``: every timed claim against its reference, in one run, as one table of ratios.

Torch and the numeric libraries are held to one thread where a claim says "one core". Targets that
were missed are listed at the end; nothing is asserted, since a timing is a property of the machine.
"""

import argparse
import importlib
import os
import platform
import statistics
import sys
from collections.abc import Iterable
from pathlib import Path

from benchmarks.harness import Case, seconds
from benchmarks.rows import table

TOPICS = (
    "weightmap",
    "postprocess",
    "matching",
    "threshold",
    "simulate",
    "training",
    "inference",
)


def collect(topics: Iterable[str]) -> list[Case]:
    """Cases of the named topics, in order."""
    modules = [importlib.import_module(f"benchmarks.{topic}") for topic in topics]
    return [case for module in modules for case in module.cases()]


def reports(topics: Iterable[str]) -> list[str]:
    """What the named topics have to say beyond ratios."""
    modules = [importlib.import_module(f"benchmarks.{topic}") for topic in topics]
    return [module.report() for module in modules if hasattr(module, "report")]


def measure(case: Case) -> dict[str, str]:
    """Time one case and describe it as a row of text."""
    ours, result = seconds(case.ours)
    theirs, expected = seconds(case.reference, most=3) if case.reference else (0.0, None)
    if case.rounds > 1 and case.reference is not None:  # a pair at a time: the machine drifts
        pairs = [(ours, theirs)]
        pairs += [
            (seconds(case.ours, most=1)[0], seconds(case.reference, most=1)[0])
            for _ in range(case.rounds - 1)
        ]
        ours, theirs = (statistics.median(times) for times in zip(*pairs, strict=True))
    row = {"case": case.name, "ours": f"{ours:.4f} s", "reference": "-", "ratio": "-", "equal": "-"}
    missed = []
    if case.at_most_s is not None and ours > case.at_most_s:
        missed.append(f"{ours:.3f} s > {case.at_most_s} s")
    if case.reference is not None:
        row |= {"reference": f"{theirs:.4f} s", "ratio": _ratio(theirs / ours)}
        if case.same is not None:
            row["equal"] = "yes" if case.same(result, expected) else "NO"
            if row["equal"] == "NO":
                missed.append("results differ")
        if case.at_least is not None and theirs / ours < case.at_least:
            missed.append(f"{_ratio(theirs / ours)} < {case.at_least}x")
    aims = [f">= {case.at_least:g}x"] if case.at_least else []
    aims += [f"<= {case.at_most_s:g} s"] if case.at_most_s else []
    row |= {
        "aim": ", ".join(aims) or "-",
        "met": "no: " + "; ".join(missed) if missed else "yes" if aims else "-",
    }
    return row | {"reference is": case.reference_is or "-"}


def _ratio(value: float) -> str:
    return f"{value:.2f}x" if value < 2 else f"{value:.1f}x"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("topics", nargs="*", help=f"any of: {', '.join(TOPICS)} (default: all)")
    parser.add_argument("--out", type=Path, help="also write the report to this Markdown file")
    arguments = parser.parse_args()
    topics = arguments.topics or TOPICS
    if unknown := set(topics) - set(TOPICS):
        parser.error(f"unknown topic {', '.join(sorted(unknown))}; known: {', '.join(TOPICS)}")

    from cellcount_lib.files import write_whole
    from cellcount_lib.machine import REPORTED, processor, version

    versions = "; ".join(f"{name} {version(name)}" for name in REPORTED if version(name))
    threads = "one thread unless a case says otherwise"
    machine = f"{processor()}; Python {platform.python_version()}; {threads}\n{versions}\n"
    print(machine)
    rows = []
    for case in collect(topics):
        print(f"  timing {case.name} ...", file=sys.stderr, flush=True)
        rows.append(measure(case))
    missed = [f"- {row['case']}: {row['met']}" for row in rows if row["met"].startswith("no")]
    aims = [row for row in rows if row["aim"] != "-"]
    result = [f"{len(aims) - len(missed)} of {len(aims)} aims met.", *missed]
    more = [line for text in reports(topics) for line in ("", text)]
    report = "\n".join([table(rows), "", *result, *more])
    print(report)
    if arguments.out:
        write_whole(arguments.out, f"# `make bench`\n\n{machine}\n{report}\n")
    if differ := sum(row["equal"] == "NO" for row in rows):
        sys.exit(f"{differ} cases do not give the result of their reference: see above")


if __name__ == "__main__":
    # Before numpy or torch start their thread pools: the claims are about one core.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = "1"
    main()
