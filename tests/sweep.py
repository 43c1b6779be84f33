"""Every operator over PyTorch's own operator database: `python -m tests.sweep --op add --samples 5`.

Runs each sample of an operator, for each dtype that PyTorch takes, through the checks of database/checks.py, in one process that outlives
any failure; prints a line an operator, and the failures by cause. With --json the figures are merged into a file, from which
--document writes docs/operators.md.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--op", nargs="*", help="names of the database (default: all that we serve)"
    )
    parser.add_argument("--family", nargs="*", help="words of the families' titles")
    parser.add_argument("--dtype", nargs="*", help="only these dtypes")
    parser.add_argument(
        "--samples", type=int, default=0, help="at most n samples a dtype and check, 0: all"
    )
    parser.add_argument(
        "--checks",
        nargs="*",
        help="only these checks: value method inplace out error gradient second forward vmap",
    )
    parser.add_argument("--errors", action="store_true", help="only error inputs")
    parser.add_argument("--gradients", action="store_true", help="only gradients, second ones too")
    parser.add_argument(
        "--no-second", action="store_true", help="without second gradients, which are slow"
    )
    parser.add_argument("--device", default="interpret", help="cpu, interpret, opencl, cuda")
    parser.add_argument("--seconds", type=int, default=20, help="a sample fails that takes longer")
    parser.add_argument("--keep-going", action="store_true", help="all failures, not 5 an operator")
    parser.add_argument("--verbose", action="store_true", help="print each failure's sample")
    parser.add_argument("--json", type=Path, help="merge the figures into this file")
    parser.add_argument(
        "--document",
        type=Path,
        nargs=2,
        metavar=("JSON", "MD"),
        help="write the table of operators",
    )
    options = parser.parse_args()
    os.environ["DEVICE"] = options.device.upper()
    from .database import report

    if options.document:
        report.document(*options.document)
        return 0
    return report.run(options)


if __name__ == "__main__":
    sys.exit(main())
