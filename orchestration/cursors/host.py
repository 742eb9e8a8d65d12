"""Who holds a lease: a process on a machine, told apart from every other one.

A process id alone says nothing: it is used again, it means another process in another
container, and after a reboot. So it is kept together with the process's start, the boot, the
process namespace and the machine, and "it is dead" is claimed only where all of them let us see.
"""

from __future__ import annotations

import os
import socket
import sys
import uuid
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

__all__ = ["Holder", "this_process"]

_LINUX = sys.platform == "linux"


@dataclass(frozen=True, slots=True)
class Holder:
    """A process.

    Attributes:
        machine: ``/etc/machine-id``, or the network card's number and the host's name.
        host: The host's name, for people; also part of the identity, as images share machine ids.
        boot: Linux: the kernel's id of this boot, as :attr:`started` counts from it. Else empty.
        namespace: Linux: the namespace in which :attr:`pid` means anything. Else empty.
        pid: Process id.
        started: The process's start: Linux: clock ticks since boot; else seconds since the epoch.
    """

    machine: str
    host: str
    boot: str
    namespace: str
    pid: int
    started: float

    def to_json(self) -> dict[str, Any]:
        """The holder as JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Inverse of :meth:`to_json`."""
        return cls(**value)

    def is_alive(self) -> bool | None:
        """True or false where it can be seen from here; ``None`` for processes elsewhere."""
        here = this_process()
        if (self.machine, self.host, self.namespace) != (here.machine, here.host, here.namespace):
            return None
        if self.boot != here.boot:
            return False
        started = _started(self.pid)
        if started is None:
            return True  # it is there, and may not be looked at
        return started == self.started


def this_process() -> Holder:
    """The process that asks."""
    pid = os.getpid()
    started = _started(pid)
    return Holder(**_machine(), pid=pid, started=0.0 if started is None else started)


@lru_cache(maxsize=1)
def _machine() -> dict[str, str]:
    host = socket.gethostname()
    return {
        "machine": _read("/etc/machine-id") or f"{uuid.getnode():012x}-{host}",
        "host": host,
        "boot": _read("/proc/sys/kernel/random/boot_id") if _LINUX else "",
        "namespace": _link("/proc/self/ns/pid") if _LINUX else "",
    }


def _started(pid: int) -> float | None:
    """When the process started; -1 when there is none; ``None`` when that cannot be seen."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return -1.0
    except PermissionError:
        pass  # another user's: it is there
    if _LINUX:
        # Not psutil: it adds the boot time to the ticks, and that moves with the clock.
        stat = _read(f"/proc/{pid}/stat")
        if not stat:
            return None
        state, *rest = stat.rpartition(")")[2].split()
        return -1.0 if state in "ZX" else float(rest[18])
    import psutil

    try:
        process = psutil.Process(pid)
        dead = process.status() in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}
        return -1.0 if dead else process.create_time()
    except psutil.NoSuchProcess:
        return -1.0
    except psutil.AccessDenied:
        return None


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _link(path: str) -> str:
    try:
        return str(Path(path).readlink())
    except OSError:
        return ""
