"""Where a command writes: a file that gets its name only when it is whole, or straight into whatever else is named."""

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
NEW_FILE_MODE = 0o666  # Less what the umask takes away, as for any new file.
SIGNALS = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def opened(output: Path) -> Iterator[BinaryIO]:
    """A file to write to; `-` is standard output.

    A regular file is replaced when the block ends well, and left alone when it does not. Devices, pipes and sockets
    are written as they are. A symbolic link stays, and what it leads to is written. Raises OSError.
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
    """Whether something is there that is not a regular file. Raises OSError where that cannot be found out."""
    try:
        return not stat.S_ISREG(output.stat().st_mode)
    except FileNotFoundError:
        return False


@contextmanager
def _replaced(target: Path) -> Iterator[BinaryIO]:
    """A file beside the target, with a name of its own, which takes the target's place at the end or is removed."""
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
    """The permissions of the file that is replaced, or those of a new one."""
    try:
        return stat.S_IMODE(target.stat().st_mode)
    except FileNotFoundError:
        umask = os.umask(0)
        os.umask(umask)
        return NEW_FILE_MODE & ~umask


@contextmanager
def _interrupted_by_signals() -> Iterator[None]:
    """Signals that would end the process at once end the block first; `nohup` stays in force."""
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
