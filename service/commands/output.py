"""Output of a command: a regular file is replaced atomically; other targets are written directly."""

import os
import signal
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

STANDARD_OUTPUT = Path("-")
STANDARD_OUTPUTS = (STANDARD_OUTPUT, Path("/dev/stdout"), Path("/dev/fd/1"), Path("/proc/self/fd/1"))
NEW_FILE_MODE = 0o666  # Before the umask.
SIGNALS = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def opened(output: Path) -> Iterator[BinaryIO]:
    """A file to write to; `-` is standard output.

    A regular file is replaced if the block succeeds, and unchanged if it raises. Devices, pipes and sockets are written
    directly. A symbolic link is kept and its target is written. Raises OSError.
    """
    if output in STANDARD_OUTPUTS:
        with open(1, "wb", closefd=False) as file:
            yield file
    elif _is_special(output):
        with output.open("wb") as file:
            yield file
    else:
        with _replaced(Path(os.path.realpath(output))) as file:
            yield file


def _is_special(output: Path) -> bool:
    """True if the path exists and is not a regular file. Raises OSError if that cannot be determined."""
    try:
        return not stat.S_ISREG(output.stat().st_mode)
    except FileNotFoundError:
        return False


@contextmanager
def _replaced(target: Path) -> Iterator[BinaryIO]:
    """A temporary file beside the target, which replaces the target at the end, or is removed after an error."""
    with _interrupted_by_signals():
        descriptor, name = tempfile.mkstemp(prefix=f"{target.name[:40]}.", suffix=".part", dir=target.parent)
        unfinished = Path(name)
        try:
            with open(descriptor, "wb") as file:
                os.fchmod(descriptor, _mode(target))
                yield file
            unfinished.replace(target)
        finally:
            unfinished.unlink(missing_ok=True)


def _mode(target: Path) -> int:
    """The permissions of the existing file, or those of a new file."""
    try:
        return stat.S_IMODE(target.stat().st_mode)
    except FileNotFoundError:
        umask = os.umask(0)
        os.umask(umask)
        return NEW_FILE_MODE & ~umask


@contextmanager
def _interrupted_by_signals() -> Iterator[None]:
    """Converts SIGTERM and SIGHUP to SystemExit within the block, unless they are ignored, as with `nohup`."""
    fatal = [number for number in SIGNALS if signal.getsignal(number) is signal.SIG_DFL]
    for number in fatal:
        signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number in fatal:
            signal.signal(number, signal.SIG_DFL)


def _interrupt(number: int, _: object) -> None:
    raise SystemExit(128 + number)
