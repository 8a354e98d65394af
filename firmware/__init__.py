"""What runs on the board (MicroPython, and CPython for tests)."""
