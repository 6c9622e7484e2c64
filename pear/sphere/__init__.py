"""The HEALPix grid itself: cells, its symmetries, windows and regridding; numpy, no torch."""
