"""`python -m lazygrad script.py` runs a script that imports torch, and only that process takes lazygrad for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import lazygrad

LIBRARY = str(Path(lazygrad.__file__).parents[1])
"""Where the package was imported from: the tree, or the environment it is installed in."""

SCRIPT = """
import sys
import os.path
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import optim
from torch.autograd import Variable
from torch.nn import Linear
import beside

assert __name__ == "__main__" and sys.modules["__main__"].torch is torch
assert sys.argv == [__file__, "--flag", "3"], sys.argv
assert torch.nn is nn and nn.functional is F and optim is torch.optim
import lazygrad, lazygrad.nn.linear
assert torch is lazygrad and Linear is lazygrad.nn.linear.Linear
assert torch.__name__ == "lazygrad" and nn.__spec__.name == "lazygrad.nn"
import torch.nn.linear
assert torch.nn.linear is lazygrad.nn.linear
assert not any("site-packages/torch/" in (getattr(m, "__file__", None) or "") for m in list(sys.modules.values()))
x = Variable(torch.ones(2, 2), requires_grad=True)
(x * x).sum().backward()
print(x.grad, beside.NUMBER)
try:
    import torch.no_such_module
except ModuleNotFoundError as error:
    print(error)
"""


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lazygrad", *arguments],
        cwd=cwd, capture_output=True, text=True, timeout=120, check=False, env={**os.environ, "PYTHONPATH": LIBRARY},
    )  # fmt: skip


def test_a_script_for_pytorch_runs_unmodified(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "script.py").write_text(SCRIPT)
    (folder / "beside.py").write_text("NUMBER = 5\n")
    done = run("folder/script.py", "--flag", "3", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "tensor([[2., 2.],",
        "        [2., 2.]]) 5",
        "No module named 'torch.no_such_module': lazygrad has no module 'lazygrad.no_such_module'",
    ]


def test_a_traceback_starts_in_the_script(tmp_path: Path) -> None:
    (tmp_path / "fails.py").write_text(
        "import torch\n\ndef f():\n    raise ValueError('here')\n\nf()\n"
    )
    done = run("fails.py", cwd=tmp_path)
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert lines[0] == "Traceback (most recent call last):" and lines[1].startswith(
        '  File "fails.py", line 6'
    )
    assert lines[-1] == "ValueError: here" and "lazygrad" not in done.stderr


def test_exit_codes(tmp_path: Path) -> None:
    (tmp_path / "leaves.py").write_text("raise SystemExit(7)\n")
    assert run("leaves.py", cwd=tmp_path).returncode == 7
    (tmp_path / "wrong.py").write_text("a b\n")
    done = run("wrong.py", cwd=tmp_path)
    assert done.returncode == 1 and "SyntaxError" in done.stderr
    assert run(cwd=tmp_path).returncode == 2
    done = run("missing.py", cwd=tmp_path)
    assert done.returncode == 2 and "can't open file 'missing.py'" in done.stderr
