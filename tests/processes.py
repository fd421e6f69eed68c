"""Looks at processes that come and go by themselves."""

import os

import psutil


def children(pid: int | None = None) -> dict[psutil.Process, str]:
    """The living children of a process (default: this one), each with its command line. One that ends under the look is not among them."""
    found = {}
    for child in psutil.Process(os.getpid() if pid is None else pid).children():
        try:
            found[child] = " ".join(child.cmdline())
        except (psutil.NoSuchProcess, psutil.AccessDenied):  # a zombie is a NoSuchProcess
            continue
    return found
