"""Checks passwords against bcrypt digests in threads. A failure takes the same time whatever its cause."""

import asyncio
import os
import re
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import bcrypt

DIGEST = re.compile(r"\$2[abxy]?\$(0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{53}", re.ASCII)
MIN_COST = 4
MAX_PADDED_COST = 14  # Failures are not padded beyond this cost; digests of a higher cost are still checked.
NICENESS = 10  # Of the threads, so that requests have priority if there are not enough cores.
MAX_BYTES = 72  # bcrypt ignores the rest of a password.
SALT = b"$2b$%02d$......................"


class PasswordChecker:
    """Checks passwords in `threads` threads, because bcrypt would block the event loop for about 0.25 seconds."""

    def __init__(self, threads: int) -> None:
        self._executor = ThreadPoolExecutor(threads, "bcrypt", _lower_priority)

    async def check(
        self, password: str, digest: str | None, finished: Callable[[], None], *, permitted: bool, cost: int
    ) -> bool:
        """True if the password matches and the login is `permitted` from the client's address.

        A failure takes as long as one hash of `cost`, or of the digest's cost if that is higher. `finished` is called
        when the thread is free again, which may be later if the caller is cancelled.
        """
        loop = asyncio.get_running_loop()
        checking = self._executor.submit(_check, password, digest, permitted, cost)
        checking.add_done_callback(lambda _: loop.call_soon_threadsafe(finished))
        return await asyncio.wrap_future(checking)

    async def close(self) -> None:
        """Waits for running checks and cancels queued ones."""
        await asyncio.to_thread(self._executor.shutdown, cancel_futures=True)


def _lower_priority() -> None:
    """Of the calling thread only, which only Linux supports."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


def cost_of(digest: str | None) -> int | None:
    """The cost of a bcrypt digest, the binary logarithm of its rounds; None if the text is not a digest."""
    match = DIGEST.fullmatch(digest or "")
    return int(match[1]) if match else None


def _check(password: str, digest: str | None, permitted: bool, cost: int) -> bool:
    target, own = min(max(cost, MIN_COST), MAX_PADDED_COST), cost_of(digest)
    if digest is None or own is None:
        _spend(target)
        return False
    if _matches(password, digest) and permitted:
        return True
    for missing in range(own, target):  # 2^own and these add up to 2^target.
        _spend(missing)
    return False


def _matches(password: str, digest: str) -> bool:
    """A password with NUL never matches, because bcrypt would ignore everything after the NUL."""
    text = password.encode()
    try:
        same = bcrypt.checkpw(text[:MAX_BYTES], digest.encode())
    except ValueError:  # An invalid salt or hash.
        return False
    return same and b"\0" not in text


def _spend(cost: int) -> None:
    bcrypt.hashpw(b"", SALT % cost)
