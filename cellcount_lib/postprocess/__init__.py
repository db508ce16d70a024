"""A thresholded heatmap into labelled objects.

`postprocess` has the rules by name, `splitting` tells touching cells apart.
"""
