"""The one difference between the interpreters that every module would else repeat: ``const``."""

try:
    from micropython import const
except ImportError:  # CPython

    def const(value: int) -> int:
        """Return ``value``; MicroPython's compiler folds the call away."""
        return value


__all__ = ["const"]
