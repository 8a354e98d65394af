"""Where a board starts: settings, parts, the loop. A board's own file calls ``run``."""

from common import __version__
from common.mp import const
from firmware.app import App, RestartError, task_number
from firmware.crashes import Crashes, tell
from firmware.settings import SettingsError, load

_TELL_MS = const(200)  # until the console has taken the last words


def run(make_board: "object", settings_path: str, ready: "object | None" = None) -> None:
    """Work for ever; ``SettingsError`` when the board cannot even tell who it is.

    Settings of which only the limits are wrong let it measure and serve, with the switches open.
    ``make_board(settings)`` gives the ``Board``; ``ready(app)`` is called before the loop begins.
    Whatever ends the loop opens the switches on its way out. An exception is then said, counted
    (``firmware.crashes``) and followed by a reset; where the board cannot reset it is raised.
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
    crashes = Crashes(board.make_storage(), board.reset_cause)
    board.feed_watchdog()  # from here on nothing may hang
    app: App | None = None
    try:
        app = App(board, settings, crashes=crashes)
        if not trusted:
            app.distrust_settings()
        print("echelon", __version__, board.name, settings.serial, "boot", app.boot)
        if crashes.safe:
            print("safe mode: %d crashes in a row" % crashes.in_a_row)
        if ready is not None:
            ready(app)  # type: ignore[operator]
        app.run()
    except SettingsError:
        raise
    except RestartError:
        app.open_switches()  # type: ignore[union-attr]
        board.reset()
    except Exception as error:
        try:
            if app is not None:
                app.open_switches()
        finally:  # whatever it was, it must not happen again at once
            current = app.executive.current if app is not None else None
            where = "start" if current is None else current.name
            crashes.record(error, task_number(where))
            tell(where, error)
            board.wait(board.ticks_add(board.ticks_ms(), _TELL_MS))
            board.reset()
        raise
    finally:
        if app is not None:
            app.open_switches()
