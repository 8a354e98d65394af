"""Errors that a person caused and can mend: one line each, and exit code 2."""

from __future__ import annotations

from pathlib import Path


class UserError(Exception):
    """Something to be mended by whoever called; every line names thing, value and way out."""

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


def reason(error: Exception) -> str:
    """What an error of the system says, without its number and the name of the file."""
    if isinstance(error, UnicodeDecodeError):
        return "not a text in UTF-8"
    return (isinstance(error, OSError) and error.strerror) or str(error)


def read_file(path: str | Path) -> bytes:
    """A file's bytes; ``UserError`` when it cannot be read."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"echelon: {path}: {reason(error)}") from error
