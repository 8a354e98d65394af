"""Log lines as ``key=value``, one event a line, on standard error.

log.warning("pack offline", extra={"bus": "bay-1", "address": 3})
2026-11-22T21:05:00.250Z WARNING bus msg="pack offline" bus=bay-1 address=3
"""

from __future__ import annotations

import json
import logging
import sys

from gateway.reading import iso_time

_ORDINARY = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class KeyValueFormatter(logging.Formatter):
    """Everything passed as ``extra`` stands behind the message."""

    def format(self, record: logging.LogRecord) -> str:
        """One line; a traceback follows on lines of its own."""
        fields = {k: v for k, v in vars(record).items() if k not in _ORDINARY}
        line = (
            f"{iso_time(record.created)} {record.levelname} {record.name.rpartition('.')[2]} "
            f"msg={_quoted(record.getMessage())}"
        )
        line += "".join(f" {key}={_quoted(value)}" for key, value in fields.items())
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def _quoted(value: object) -> str:
    text = str(value)
    if text and not any(c in text for c in ' "=\n\\'):
        return text
    return json.dumps(text, ensure_ascii=False)


def set_up(*, verbose: bool) -> None:
    """Send this program's log to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(KeyValueFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("gateway").setLevel(logging.DEBUG if verbose else logging.INFO)
