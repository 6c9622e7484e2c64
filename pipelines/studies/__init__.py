"""Studies: comparisons that train or run several networks for hours."""
