"""Numbers of kinds of cells, made from recordings by ``echelon calibrate``."""
