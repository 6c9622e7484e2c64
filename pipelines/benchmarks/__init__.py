"""Measurements of PEAR itself: how fast a step is, how much memory it takes, how exact its
symmetry is. Each figure stands beside the slow twin and the machine's own best rate."""
