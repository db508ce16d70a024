"""A trained network at work: its file, its heatmaps, what it was asked to draw, its evaluation.

Read in this order: `predict` (a picture to its heatmap), `heatmaps` (as they are kept),
`formulations` (what else than a mask a network may draw), `model_file`, `evaluation`.
"""
