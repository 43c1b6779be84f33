"""Scripts that run in a process of their own: what needs a fresh start, another environment, or a fork."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import lazygrad as lg

LIBRARY = str(Path(lg.__file__).parents[1])
FORK = """
import os
import lazygrad as lg
x = lg.ones(3, device="{device}").realize()
child = os.fork()
if not child:
    assert (lg.ones(3) + 1).sum().item() == 6  # the CPU works on
    try:
        (x + 1).sum().item()
    except RuntimeError as error:
        os._exit(7 if "Cannot re-initialize {name} in forked subprocess" in str(error) else 1)
    os._exit(2)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert (x + 1).sum().item() == 6
"""


def execute(script: str, **environment: str) -> str:
    """What a script prints."""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": LIBRARY, **environment},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def fork(device: str, name: str) -> None:
    """A forked child cannot use a device that its parent has opened, and is told so; the parent goes on."""
    execute(FORK.format(device=device, name=name))
