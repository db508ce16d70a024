import dataclasses

import pytest
import yaml

from cellcount_lib.errors import CellcountError, DataError, InputError
from cellcount_lib.losses import PRESETS
from cellcount_lib.methods.score import METHODS
from cellcount_lib.runs.grid import NETWORK, WITHOUT, Run, grids, load_grid
from cellcount_lib.scoring.instances import INSTANCES
from cellcount_lib.scoring.pixels import PIXELS
from cellcount_lib.scoring.pooling import pooled
from cellcount_lib.scoring.protocols import protocol
from cellcount_lib.training.spec import Training

BASE = {
    "title": "T",
    "base": {"dataset": "simulated"},
    "columns": {"f1": "F1"},
    "rows": [{"label": "a"}, {"label": "b", "set": {"arch": "unet"}}],
}


def grid(tmp_path, profile="smoke", seeds=None, dataset=None, scale=None, **changes):
    path = tmp_path / "g.yaml"
    path.write_text(yaml.safe_dump(BASE | changes))
    return load_grid(path, profile=profile, seeds=seeds, dataset=dataset, scale=scale)


def test_a_row_has_a_run_per_seed_with_all_parameters(tmp_path):
    made = grid(tmp_path, seeds=[0, 5])
    assert [len(row.runs) for row in made.rows] == [2, 2]
    run = made.rows[1].runs[1]
    expected = Training(dataset="simulated", arch="unet", profile="smoke", seed=5)
    assert run == Run(NETWORK, dataclasses.asdict(expected))
    assert len({r.id for r in made.runs}) == 4
    assert run.id.startswith("simulated-unet-recommended-seed5-")


def test_a_run_is_its_parameters_not_its_grid(tmp_path):
    one = grid(tmp_path)
    two = grid(tmp_path, title="another", rows=[{"label": "c", "set": {"recipe": "recommended"}}])
    assert one.rows[0].runs[0].id == two.rows[0].runs[0].id
    other = grid(tmp_path, profile="laptop")
    assert one.rows[0].runs[0].id != other.rows[0].runs[0].id


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"titel": "x"}, "unknown key of the grid 'titel'; did you mean 'title'"),
        ({"rows": []}, "rows: expected a list"),
        ({"rows": [{"label": "a", "sets": {}}]}, "unknown key of a row 'sets'; did you mean 'set'"),
        ({"rows": [{"set": {}}]}, "a row lacks label"),
        ({"rows": [{"label": "a"}, {"label": "a"}]}, "found 'a' twice"),
        ({"rows": [{"label": "a", "set": {"archi": "unet"}}]}, "did you mean 'arch'"),
        ({"rows": [{"label": "a", "set": {"loss": "dise"}}]}, "did you mean 'dice'"),
        ({"rows": [{"label": "a", "method": "oracel"}]}, "did you mean 'oracle'"),
        ({"rows": [{"label": "a", "method": "run", "of": "b"}]}, "the label of a row above"),
        ({"rows": [{"label": "a", "published": {"f2": 1}}]}, "expected columns of the grid"),
        ({"base": {"protocol": "x"}}, "unknown protocol"),
        ({"seeds": [0.5]}, "expected whole numbers"),
    ],
)
def test_mistakes_are_found_before_anything_runs(tmp_path, wrong, message):
    with pytest.raises(CellcountError, match=message):
        grid(tmp_path, **wrong)


def test_files_that_are_no_grids(tmp_path):
    with pytest.raises(InputError, match="unknown grid 'tabel1'; did you mean 'table1'"):
        load_grid("tabel1", profile="smoke")
    with pytest.raises(DataError, match="cannot be read"):
        load_grid(tmp_path / "absent.yaml", profile="smoke")
    (tmp_path / "x.yaml").write_text("a: [")
    with pytest.raises(DataError, match="expected YAML"):
        load_grid(tmp_path / "x.yaml", profile="smoke")
    (tmp_path / "x.yaml").write_text("- a")
    with pytest.raises(DataError, match="keys and values"):
        load_grid(tmp_path / "x.yaml", profile="smoke")


def test_scoring_again_needs_its_run_and_has_its_seed(tmp_path):
    rows = [
        {"label": "a"},
        {"label": "b", "method": "run", "of": "a", "set": {"protocol": "morelli2021"}},
        {"label": "c", "method": "run", "of": {"arch": "fcn"}},
        {"label": "d", "method": "oracle"},
    ]
    made = grid(tmp_path, rows=rows, seeds=[0, 1])
    a, b, c, d = (row.runs for row in made.rows)
    assert [r.needs for r in b] == [(a[0].id,), (a[1].id,)]
    assert [r.parameters["run"] for r in b] == [r.id for r in a]
    assert {r.chapter for r in b} == {WITHOUT}
    hidden = [r for r in made.runs if r.parameters.get("arch") == "fcn"]
    assert {r.id for r in hidden} == {r.needs[0] for r in c}
    assert len(d) == 1  # no seed in it
    order = [r.id for r in made.runs]
    assert all(order.index(need) < order.index(r.id) for r in made.runs for need in r.needs)


def test_a_row_may_be_the_best_of_several_rows_of_the_same_seed(tmp_path):
    rows = [
        {"label": "slow", "set": {"lr": 0.001}},
        {"label": "fast", "set": {"lr": 0.01}},
        {"label": "best", "method": "run", "of": ["slow", "fast"]},
    ]
    slow, fast, best = grid(tmp_path, seeds=[0, 5], rows=rows).rows
    assert [run.parameters["lr"] for run in slow.runs + fast.runs] == [0.001, 0.001, 0.01, 0.01]
    for seed, one, other, run in zip((0, 5), slow.runs, fast.runs, best.runs, strict=True):
        assert run.needs == (one.id, other.id)
        assert run.parameters["run"] == f"{one.id}+{other.id}"
        assert run.parameters["seed"] == seed
    rows[2]["of"] = ["slow", "quick"]
    with pytest.raises(DataError, match="found 'quick'"):
        grid(tmp_path, rows=rows)


def test_another_dataset_is_another_table(tmp_path):
    made = grid(tmp_path, dataset="folder:/some/where/my-cells")
    assert made.name == "g-my-cells"
    assert {r.parameters["dataset"] for r in made.runs} == {"folder:/some/where/my-cells"}
    assert all("/" not in r.id for r in made.runs)
    same = grid(tmp_path, scale=0.5, rows=[*BASE["rows"], {"label": "c", "method": "oracle"}])
    assert same.name == "g-x0.5"
    assert [r.parameters.get("scale") for r in same.runs] == [0.5, 0.5, None]


# --- the grids of the project --------------------------------------------------------------------


@pytest.mark.parametrize("name", grids())
def test_every_grid_of_the_project_is_valid(name):
    import pandas as pd

    made = load_grid(name, profile="laptop")
    assert made.title
    assert len(made.runs) == len({r.id for r in made.runs})
    row = {"n_true": [1], "n_pred": [1], "tp": [1], "fp": [0], "fn": [0], "status": ["ok"]}
    ruler = protocol(made.rows[0].runs[0].parameters["protocol"])
    for further in ruler.further:
        row |= {f"{kind}_{further.name}": [1] for kind in ("tp", "fp", "fn")}
    for name in ruler.further_scores:
        row |= {column: [1] for column in {"pixels": PIXELS, "instances": INSTANCES}[name]}
    assert set(made.columns) <= {*pooled(pd.DataFrame(row)), "mae_objects"}


def test_the_losses_are_the_twelve_of_the_study_with_its_seeds():
    made = load_grid("losses", profile="laptop")
    trained = [row for row in made.rows if row.runs[0].chapter == NETWORK]
    assert len(trained) == 12
    used = {row.runs[0].parameters["loss"] for row in trained}
    assert used <= {*PRESETS}
    assert len(used) == 12
    assert {tuple(r.parameters["seed"] for r in row.runs) for row in trained} == {
        (0, 5, 25, 47, 79)
    }
    assert all({"f1", "f1_sd", "mae"} <= row.published.keys() for row in trained)


def test_table1_switches_maps_and_artifacts():
    made = load_grid("table1", profile="laptop", seeds=[0])
    trained = {r.label: r.runs[0].parameters for r in made.rows if r.runs[0].chapter == NETWORK}
    assert len(trained) == 9
    for label, p in trained.items():
        assert p["oversample_artifacts"] == ("no AO" not in label)
        assert p["weight_map"] == (False if "no WM" in label else None)
    others = {r.runs[0].parameters["method"] for r in made.rows if r.runs[0].chapter == WITHOUT}
    assert others == {n for n, m in METHODS.items() if not m.of_a_run} - {
        "log-blobs",
        "published-weights",
    }
    assert sum(bool(r.published) for r in made.rows) == 10


PRE = {"arch": "fcn", "recipe": "fcn2016", "dataset": "simulated:simcep"}


def test_a_row_may_start_from_the_weights_of_another_run(tmp_path):
    rows = [{"label": "tuned", "init": PRE, "set": {"arch": "fcn", "recipe": "fcn2016"}}]
    made = grid(tmp_path, rows=rows, seeds=[0, 3], dataset="bbbc038")
    run = made.rows[0].runs[1]
    start = next(r for r in made.extra if r.parameters["seed"] == 3)
    assert run.needs == (start.id,)
    assert run.parameters["init"] == start.id
    assert (run.parameters["dataset"], start.parameters["dataset"]) == (
        "bbbc038",
        "simulated:simcep",
    )
    order = [r.id for r in made.runs]
    assert order.index(start.id) < order.index(run.id)
    with pytest.raises(DataError, match="init: expected the settings of a network"):
        grid(tmp_path, rows=[{"label": "a", "init": "pre"}])


def test_a_network_is_applied_elsewhere_but_trained_at_home(tmp_path):
    rows = [
        {
            "label": "away",
            "method": "apply",
            "of": {"dataset": "simulated"},
            "set": {"harmonise": "size+colour"},
        }
    ]
    base = {"dataset": "simulated:nuclei-medium", "protocol": "recommended"}
    made = grid(tmp_path, base=base, rows=rows, dataset="bbbc038")
    (run,) = made.rows[0].runs
    assert run.parameters["dataset"] == "bbbc038"
    assert made.extra[0].parameters["dataset"] == "simulated"
    assert run.parameters["run"] == made.extra[0].id
    assert "size-colour" in run.id
    rows[0]["set"] = {"harmonise": "size+color"}
    with pytest.raises(DataError, match="did you mean 'colour'"):
        grid(tmp_path, base=base, rows=rows)


def test_a_part_of_every_name_can_be_replaced(tmp_path):
    rows = [
        {"label": "few", "set": {"dataset": "patches:5:bbbc038"}},
        {"label": "all", "init": PRE},
        {"label": "oracle", "method": "oracle"},
    ]
    base = {"dataset": "patches:55:bbbc038"}
    made = grid(tmp_path, base=base, rows=rows, dataset="bbbc038=folder:/data/my-cells")
    assert made.name == "g-my-cells"
    assert [row.runs[0].parameters["dataset"] for row in made.rows] == [
        "patches:5:folder:/data/my-cells",
        "patches:55:folder:/data/my-cells",
        "patches:55:folder:/data/my-cells",
    ]
    assert made.extra[0].parameters["dataset"] == "simulated:simcep"


def test_a_replacement_that_meets_no_name_is_an_error(tmp_path):
    rows = [{"label": "few", "set": {"dataset": "patches:5:bbbc038"}}]
    base = {"dataset": "patches:55:bbbc038"}
    with pytest.raises(DataError, match="none with 'bbbc39'; the names are patches:5:bbbc038"):
        grid(tmp_path, base=base, rows=rows, dataset="bbbc39=folder:/data/my-cells")
    with pytest.raises(InputError, match="expected OLD=NEW"):
        grid(tmp_path, base=base, rows=rows, dataset="bbbc038=")


def test_a_folder_may_have_an_equals_sign_in_its_path(tmp_path):
    rows = [{"label": "few"}, {"label": "oracle", "method": "oracle"}]
    made = grid(tmp_path, rows=rows, dataset="folder:/data/day=3")
    assert made.name == "g-day-3"
    assert {row.runs[0].parameters["dataset"] for row in made.rows} == {"folder:/data/day=3"}


def test_only_some_rows_come_with_what_they_need():
    grid = load_grid("transfer", profile="smoke", seeds=[0, 1])
    by_id = {run.id: run for run in grid.runs}
    row = next(row for row in grid.rows if row.runs[0].needs)
    few = grid.only([row.label])
    assert [r.label for r in few.rows] == [r.label for r in grid.rows if row.label in r.label]

    def needed(run):
        return {run.id}.union(*(needed(by_id[need]) for need in run.needs))

    expected = set().union(*(needed(run) for r in few.rows for run in r.runs))
    assert {run.id for run in few.runs} == expected
    assert len(few.runs) < len(grid.runs)
    places = [run.id for run in few.runs]
    for run in few.runs:
        assert all(places.index(need) < places.index(run.id) for need in run.needs)
    two = grid.only([grid.rows[0].label, grid.rows[-1].label])
    assert {grid.rows[0].label, grid.rows[-1].label} <= {r.label for r in two.rows}
    with pytest.raises(InputError, match="no such row"):
        grid.only(["no such row"])
