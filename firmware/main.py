"""Where a board starts: settings, parts, the loop. A board's own file calls ``run``."""

from common import __version__
from firmware.app import App
from firmware.settings import load


def run(make_board: "object", settings_path: str, ready: "object | None" = None) -> None:
    """Work for ever; ``SettingsError`` when the settings cannot be.

    ``make_board(settings)`` gives the ``Board``; ``ready(app)`` is called before the loop begins.
    Whatever ends the loop opens the switches on its way out.
    """
    settings = load(settings_path)
    board = make_board(settings)  # type: ignore[operator]
    app = App(board, settings)
    print("echelon", __version__, board.name, settings.serial, "boot", app.boot)
    if ready is not None:
        ready(app)  # type: ignore[operator]
    try:
        app.run()
    finally:
        app.open_switches()
