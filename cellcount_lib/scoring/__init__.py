"""Labelled objects into scores under a named protocol, and how sure those are.

Read in this order: `counting` (errors of counts), `objects` and `matching` (which prediction is
which cell), `detection`, `pixels` and `instances` (scores), `pooling` (over a test set),
`protocols` (all of it under one name), `sweeps` and `cutoff` (where to cut a heatmap), `curves`
(precision and recall), `stats` (intervals and tests).
"""
