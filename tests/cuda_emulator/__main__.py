"""Programs on the CUDA emulator: builds what is missing and runs a command that finds it in the place of a driver.

usage: python -m tests.cuda_emulator COMMAND ...           run a command; `python` is the one that runs this
       python -m tests.cuda_emulator --wheel DIRECTORY     build pycuda, and put the wheel there
       python -m tests.cuda_emulator --check               succeed if all is there that building needs
       python -m tests.cuda_emulator                       print the directory of the libraries, for LD_LIBRARY_PATH
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from .build import Unavailable, build, environment, toolkit, wheel


def main(arguments: list[str]) -> int:
    try:
        if arguments == ["--check"]:
            print(f"g++ and {toolkit()}")
            return 0
        place = build()
        if not arguments:
            print(place)
            return 0
        if arguments[0] == "--wheel":
            print(wheel(sys.executable, Path(arguments[1])))
            return 0
    except Unavailable as reason:
        print(f"CUDA is unavailable: {reason}")
        return 1
    if arguments[0] == "python":
        arguments[0] = sys.executable
    os.execvpe(arguments[0], arguments, environment(place))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
