"""Where a board starts: settings, parts, the loop. A board's own file calls ``run``."""

from common import __version__
from firmware.app import App
from firmware.settings import SettingsError, load


def run(make_board: "object", settings_path: str, ready: "object | None" = None) -> None:
    """Work for ever; ``SettingsError`` when the board cannot even tell who it is.

    Settings of which only the limits are wrong let it measure and serve, with the switches open.
    ``make_board(settings)`` gives the ``Board``; ``ready(app)`` is called before the loop begins.
    Whatever ends the loop opens the switches on its way out.
    """
    trusted = True
    try:
        settings = load(settings_path)
    except SettingsError as error:
        if error.rest is None:
            raise
        print(error)
        settings = error.rest
        trusted = False
    board = make_board(settings)  # type: ignore[operator]
    app = App(board, settings)
    if not trusted:
        app.distrust_settings()
    print("echelon", __version__, board.name, settings.serial, "boot", app.boot)
    if ready is not None:
        ready(app)  # type: ignore[operator]
    try:
        app.run()
    finally:
        app.open_switches()
