"""A thresholded heatmap into labelled objects.

`postprocess` has the rules by name. `cleaning` comes first; `plateaus` and `splitting` tell
touching cells apart.
"""
