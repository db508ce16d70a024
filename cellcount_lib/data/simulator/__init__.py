"""What the simulator is made of: strokes, cells, the population, the styles, the calibration."""
