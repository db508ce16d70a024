"""A trained network at work: its file, its heatmaps, what it was asked to draw, its evaluation.

Read in this order: `predict` (a picture to its heatmap, with torch), `tiles` (large pictures),
`heatmaps` (as they are kept), `formulations` (what else than a mask a network may draw), `network`
(a picture to its cells), `info`, `model_file`, `evaluation`; for counting without torch, `export`
and `engine`; for other programs, `package`.
"""
