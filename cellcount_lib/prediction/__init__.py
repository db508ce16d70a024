"""Counting the cells of a person's own pictures: ``cellcount predict``.

`reading` turns files into planes, `outlines` and `outputs` say how results are written, `run` goes
through many files and can be interrupted, `command` is the command line.
"""
