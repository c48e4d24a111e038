"""Passwords against bcrypt digests, checked in threads; a refusal takes the same time whatever its cause."""

import asyncio
import os
import re
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import bcrypt

DIGEST = re.compile(r"\$2[abxy]?\$(0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{53}", re.ASCII)
MIN_COST = 4
MAX_PADDED_COST = 14  # A dearer digest is still checked, but refusals are not made to last as long as it takes.
NICENESS = 10  # Of the threads, so that requests go first where there are more of both than cores.
MAX_BYTES = 72  # That bcrypt reads of a password.
SALT = b"$2b$%02d$......................"


class PasswordChecker:
    """Checks passwords in `threads` threads, since bcrypt would stop the event loop for a quarter of a second."""

    def __init__(self, threads: int) -> None:
        self._executor = ThreadPoolExecutor(threads, "bcrypt", _lower_priority)

    async def check(self, password: str, digest: str | None, *, permitted: bool, cost: int) -> bool:
        """Whether a login succeeds: `permitted` is false where its address may not be used.

        A refusal costs as much as one hash of `cost`, or of the digest's own cost where that is higher.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, _check, password, digest, permitted, cost)

    async def close(self) -> None:
        """Waits for the checks under way; those that wait for a thread are cancelled."""
        await asyncio.to_thread(self._executor.shutdown, cancel_futures=True)


def _lower_priority() -> None:
    """Of the calling thread alone, which Linux can do."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


def cost_of(digest: str | None) -> int | None:
    """The cost of a bcrypt digest: the binary logarithm of its rounds. None where the text is not one."""
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
    """bcrypt in C ends at a NUL, so a password with one would be as good as its beginning; it never matches here."""
    text = password.encode()
    try:
        same = bcrypt.checkpw(text[:MAX_BYTES], digest.encode())
    except ValueError:  # A salt or a hash that no bcrypt writes.
        return False
    return same and b"\0" not in text


def _spend(cost: int) -> None:
    bcrypt.hashpw(b"", SALT % cost)
