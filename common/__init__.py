"""The words that board, gateway and simulator all speak. Runs on MicroPython and CPython."""

__version__ = "0.1.0"
