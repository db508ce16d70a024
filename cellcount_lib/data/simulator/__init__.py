"""What the simulator draws with: strokes, cells, scenery, the population, nuclei, SIMCEP."""
