"""Counting the cells of a person's own pictures: ``cellcount predict``.

`reading` turns files into planes, those of microscopes with `microscope`, `models` says what
counts, `sizes` how wide cells are, `counter` counts one picture by both, `checks` says what a
person should look at. `outputs` writes results,
`run` works through many files and can be interrupted, `intervals` puts intervals around counts,
`groups` compares conditions, `command` is the command line.
"""
