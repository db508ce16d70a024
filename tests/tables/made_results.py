"""Results of a grid, from lists of true positives per picture."""

import pandas as pd

from cellcount_lib.tables.collect import Results, scores, to_csv


def images(run, tp, n_true=10):
    rows = [
        {"run": run, "image": f"p{i}", "n_true": n_true, "n_pred": t, "tp": t, "fp": 0,
         "fn": n_true - t, "status": "ok"}
        for i, t in enumerate(tp)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def results(**rows):
    """Build results from label -> a list of per-seed lists of true positives."""
    runs, pictures = [], []
    for label, seeds in rows.items():
        for seed, tp in enumerate(seeds):
            name = f"{label}{seed}"
            row = {"label": label, "seed": seed, "run": name, "dataset": "simulated"}
            row |= {"protocol": "recommended", "status": "completed", "reason": "", "seconds": 10.0}
            row |= {"processor": "CPU", "gpu": "", "torch": "2", "finished": "", "data": ""}
            row |= {"code": ""}
            if tp is None:
                runs.append(row | {"status": "failed"})
                continue
            table = images(name, tp)
            pictures.append(table)
            runs.append(row | scores(table, "recommended"))
    return Results(pd.DataFrame(runs), pd.concat(pictures), [])


def write_results(made, folder, name):
    """Write the tidy files of a table."""
    (folder / f"{name}.csv").write_text(to_csv(made.runs))
    (folder / f"{name}-images.csv").write_text(to_csv(made.images))


GOOD, BAD = [9, 8, 10, 9, 7, 9, 10, 8], [5, 4, 6, 5, 3, 5, 6, 4]
