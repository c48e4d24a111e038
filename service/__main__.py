"""The command `cdr-api`, also as `python -m service`."""

import signal


def main() -> int:
    """Runs the command. Ctrl-C during the imports ends the process without a traceback."""
    handled = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if handled:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from service import cli  # Imports nearly all modules.

    if handled:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return cli.main()


if __name__ == "__main__":
    raise SystemExit(main())
