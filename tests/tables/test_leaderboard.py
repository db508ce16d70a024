"""What a board ranks: one protocol, the same pictures, each run once."""

from dataclasses import replace

import pytest

from cellcount_lib.tables.leaderboard import CONTROLS, Board, leaderboards
from tests.tables.made_results import BAD, GOOD, results
from tests.tables.test_findings import Made

SIMULATED = Board("simulated", "recommended")


class Table(Made):
    """A made table whose rows without training say by which method they are made."""

    @property
    def grid(self):
        grid = super().grid
        rows = tuple(
            row
            if row.trained
            else replace(
                row, runs=tuple(replace(r, parameters={"method": row.label}) for r in row.runs)
            )
            for row in grid.rows
        )
        return replace(grid, rows=rows)


def names(board):
    return [entry.label for entry in board]


def test_rows_are_ranked_by_the_mean_over_their_trainings():
    made = Table(results(a=[BAD], b=[GOOD] * 3, oracle=[[10] * 8]), untrained=("oracle",))
    board = leaderboards([made])[SIMULATED]
    assert names(board) == ["oracle", "b", "a"]
    oracle, b, a = board
    assert (oracle.method in CONTROLS, b.method, a.method) == (True, None, None)
    assert oracle.score == 1
    tp = sum(GOOD)
    assert b.score == pytest.approx(2 * tp / (tp + 80))  # 80 true cells, no false ones
    assert b.interval[0] < b.score < b.interval[1]
    assert a.interval is None


def test_a_board_has_one_protocol_and_a_run_stands_in_it_once():
    made = results(a=[GOOD], b=[BAD])
    made.runs.loc[made.runs["label"] == "b", "protocol"] = "clissa2023"
    boards = leaderboards([Table(made), Table(made, "study")])
    assert {board: names(rows) for board, rows in boards.items()} == {
        SIMULATED: ["a"],
        Board("simulated", "clissa2023"): ["b"],
    }


def test_rows_on_earlier_pictures_are_left_out_and_training_patches_do_not_matter():
    made = results(a=[GOOD], b=[BAD], c=[GOOD], d=[BAD])
    label = made.runs["label"]
    made.runs["finished"], made.runs["data"] = "2026-02", "new"
    made.runs.loc[label == "a", ["finished", "data"]] = "2026-01", "old"
    made.runs.loc[label == "c", ["dataset", "data"]] = "patches:5:bbbc038", "five"
    made.runs.loc[label == "d", ["dataset", "data"]] = "patches:55:bbbc038", "more"
    boards = leaderboards([Table(made)])
    assert names(boards[SIMULATED]) == ["b"]
    assert names(boards[Board("patches:bbbc038", "recommended")]) == ["c", "d"]
