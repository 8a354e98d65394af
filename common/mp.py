"""The one difference between the interpreters that every module would else repeat: ``const``."""


def const(value: int) -> int:
    """Return ``value``; MicroPython's compiler folds the call away."""
    return value


try:
    from micropython import const  # type: ignore[no-redef]
except ImportError:  # CPython
    pass

__all__ = ["const"]
