"""The one difference between the interpreters that every module would else repeat: ``const``."""

TYPE_CHECKING = False  # boards have no typing
if TYPE_CHECKING:
    from typing import TypeVar

    T = TypeVar("T")


def const(value: "T") -> "T":
    """Return ``value``; MicroPython's compiler folds the call away.

    Numbers, texts and tuples of them; MicroPython 1.25 takes no fraction below 0.
    """
    return value


try:
    from micropython import const  # type: ignore[no-redef]
except ImportError:  # CPython
    pass

__all__ = ["const"]
