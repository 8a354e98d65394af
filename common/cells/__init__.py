"""Numbers of kinds of cells, made from recordings by the tools in ``firmware.tools``."""
