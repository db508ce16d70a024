"""What a run has to tell others, written from what it left: ``cellcount report``.

`known` reads a run, whichever file it left. `checklist` has the items of reporting guidelines;
`data_answers`, `training_answers` and `score_answers` answer them from `evidence` as far as that
goes, the rest is asked. `leakage` looks for what stands in two parts of a split. `croissant` and
`crate` describe tables, pictures and runs for other programs.
"""
