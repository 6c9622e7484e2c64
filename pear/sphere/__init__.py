"""The sphere: HEALPix and latitude-longitude grids, regridding, symmetries, windows and shifts."""
