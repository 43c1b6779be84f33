"""Running many samples, and what is said of it: a line an operator, failures by cause, figures as JSON, docs/operators.md.

In: the options of tests/sweep.py. Out: text on stdout and files.
"""

from __future__ import annotations

import itertools
import json
import random
import re
import signal
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.testing._internal import common_utils
from torch.testing._internal.opinfo import core

from .checks import CHECKS, NotApplicable
from .operators import DTYPES, Unserved, describe, dtypes, entries, families, title

GRADIENTS = ("gradient", "second", "forward", "vmap")
"""The checks of inputs that require grad, made in float64."""
REFERENCE = ("value",)
"""The checks that also take the database's reference inputs, of which there are many."""


@dataclass(frozen=True)
class Departure:
    """Samples for which PyTorch is not followed, since it contradicts its own reference."""

    operators: tuple[str, ...]
    checks: tuple[str, ...]
    meant: Callable[[Any], bool]
    reason: str


def _least_integer(sample: Any) -> bool:
    """Whether an integer tensor has the least value of its dtype, which has no absolute value."""
    tensors = [each for each in (sample.input, *sample.args) if isinstance(each, torch.Tensor)]
    return any(
        not each.dtype.is_floating_point
        and each.dtype != torch.bool
        and torch.iinfo(each.dtype).min < 0
        and bool((each == torch.iinfo(each.dtype).min).any())
        for each in tensors
    )


DEPARTURES = (
    Departure(
        ("gcd", "lcm"),
        ("value", "method", "inplace", "out"),
        _least_integer,
        "the divisor of the least integer is negative in PyTorch for some operands; its reference, numpy, has it positive, as here",
    ),
    Departure(
        ("as_strided_scatter",),
        ("gradient", "second"),
        lambda sample: True,
        "PyTorch's gradient of the input is 0 where `src` did not go, which its own slice_scatter contradicts; here it is 0 where `src` went",
    ),
    Departure(
        ("addbmm",),
        ("inplace",),
        lambda sample: sample.input.shape != (sample.args[0].shape[1], sample.args[1].shape[2]),
        "PyTorch's addbmm_ gives its tensor another shape, which its addmm_ and baddbmm_ refuse, as all three do here",
    ),
    Departure(
        ("as_strided",),
        ("forward",),
        lambda sample: "storage_offset" in sample.kwargs,
        "a tangent that is a tensor of its own has no memory before and behind its elements",
    ),
    Departure(
        ("cov",),
        ("value", "method", "gradient", "second", "forward"),
        lambda sample: (
            sample.kwargs.get("aweights") is not None
            and sample.kwargs["aweights"].dtype != sample.input.dtype
        ),
        "the divisor is a difference of sums of float32, as in PyTorch; both are less exact than the float64 they are compared in",
    ),
    Departure(
        ("polygamma", "special.polygamma"),
        ("value", "method", "inplace", "out"),
        lambda sample: bool(sample.input.isinf().any()),
        "derivatives of digamma from the second on are NaN at infinity in PyTorch; here they are 0, their limit",
    ),
    Departure(
        ("special.zeta",),
        ("value",),
        lambda sample: (
            isinstance(sample.input, torch.Tensor) and bool((sample.input.double() > 1e15).any())
        ),
        "the sum is NaN in PyTorch for a large exponent and a base above 1; here it is its limit, 0",
    ),
    Departure(
        ("matrix_exp",),
        ("value", "method"),
        lambda sample: sample.input.dtype.itemsize == 2,
        "half types are NaN or what memory held in PyTorch; here they are what float32 gives, rounded",
    ),
    Departure(
        ("linalg.lstsq",),
        ("vmap",),
        lambda sample: sample.kwargs.get("driver") in ("gelsd", "gelss"),
        "whether there are residuals depends on ranks, which an example of a batch does not have to read",
    ),
    Departure(
        ("quantile", "nanquantile"),
        ("vmap",),
        lambda sample: isinstance(sample.args[0], torch.Tensor) and sample.args[0].requires_grad,
        "shares that differ from example to example cannot be looked at, and are refused",
    ),
    Departure(
        ("narrow_copy",),
        ("error",),
        lambda sample: True,
        "an axis that is not there fails an internal assertion of PyTorch's, a RuntimeError; here it is the IndexError of narrow",
    ),
    Departure(
        ("linalg.norm", "linalg.vector_norm", "norm"),
        ("second",),
        lambda sample: not sample.input.numel(),
        "the second gradient of the norm of nothing is NaN in PyTorch; the first gradient has no element whose derivative it could be, so that it is 0 here",
    ),
)


def departure(entry: Any, check: str, sample: Any) -> str | None:
    """Why PyTorch is not followed for a sample that failed; None where it should be."""
    for each in DEPARTURES:
        if entry.name in each.operators and check in each.checks and each.meant(sample):
            return each.reason
    return None


class Failure:
    """One sample that failed."""

    def __init__(self, check: str, dtype: str, sample: str, message: str) -> None:
        self.check, self.dtype, self.sample, self.message = check, dtype, sample, message

    @property
    def cause(self) -> str:
        """The message without its numbers, to group by."""
        return re.sub(r"[-\d.e+]*\d[-\d.e+]*", "#", self.message.splitlines()[0])[:110]


class Figures:
    """Samples passed and seen by check, and the failures of one operator."""

    def __init__(self) -> None:
        self.passed: Counter[str] = Counter()
        self.total: Counter[str] = Counter()
        self.dtypes: list[str] = []
        self.failures: list[Failure] = []
        self.named: Counter[str] = Counter()
        """Samples for which PyTorch is not followed, by the reason."""

    def whole(self) -> bool:
        """Whether anything was run, and everything passed that is not named with its reason."""
        return bool(self.total) and not self.failures


@contextmanager
def limit(seconds: int) -> Iterator[None]:
    """Raise TimeoutError in the body after so many seconds."""

    def late(*_: object) -> None:
        raise TimeoutError(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def some(samples: Iterable[Any], most: int) -> list[Any]:
    """At most so many samples (0: all), evenly spread over the first ones."""
    if not most:
        return list(samples)
    found = list(itertools.islice(samples, 16 * most))
    if len(found) <= most:
        return found
    step = len(found) / most
    return [found[int((i + 0.5) * step)] for i in range(most)]


for _module in (common_utils, core):
    _module.extract_test_fn = lambda: None
    """Which test asks for samples: the database reads the whole stack for it each time, which takes longer than all the rest."""


def samples_of(entry: Any, dtype: str, check: str) -> Iterable[Any]:
    """The samples that a check can run for a dtype, without the reference inputs."""
    if check == "error":
        return seeded(entry.error_inputs)
    return seeded(entry.sample_inputs, DTYPES[dtype], requires_grad=check in GRADIENTS)


def seeded(make: Any, *args: Any, **kwargs: Any) -> Iterable[Any]:
    """Samples from one seed; the database's own seeding, for each sample anew, takes longer than all the rest."""
    torch.default_generator.manual_seed(0)
    random.seed(0)
    np.random.seed(0)
    found: Iterable[Any] = make("cpu", *args, set_seed=False, **kwargs)
    return found


def chosen_samples(entry: Any, dtype: str, check: str, most: int) -> list[Any]:
    """At most so many samples (0: all) and as many reference inputs; all error inputs."""
    found = some(samples_of(entry, dtype, check), 0 if check == "error" else most)
    if check in REFERENCE and entry.reference_inputs_func is not None:
        found += some(seeded(entry.reference_inputs, DTYPES[dtype]), most)
    return found


def applies(entry: Any, check: str, dtype: str) -> bool:
    """Whether a check is made for a dtype: gradients in float64, error inputs once."""
    if check == "error":
        return bool(entry.error_inputs_func)
    if check == "second" and entry.variant_test_name == "subgradients_at_zero":
        return False  # PyTorch's is NaN there, which its own tests expect to fail
    if check in GRADIENTS:
        supported = entry.supports_autograd and (check != "second" or entry.supports_gradgrad)
        return bool(dtype == "float64" and supported)
    if check == "inplace":
        return entry.inplace_variant is not None
    if check == "method":
        return entry.method_variant is not None
    return check != "out" or bool(entry.supports_out)


def run_one(entry: Any, check: str, dtype: str, sample: Any, seconds: int) -> Failure | None:
    """Run one check of one sample.

    Raises:
        NotApplicable, Unserved: there is nothing to check.
    """
    torch.default_generator.manual_seed(0)
    try:
        with limit(seconds):
            CHECKS[check](entry, sample)
    except (NotApplicable, Unserved):
        raise
    except Exception as error:
        text = describe(getattr(sample, "sample_input", sample))
        name = type(error).__name__
        message = str(error) if name == "Difference" else f"{name}: {error}"
        return Failure(check, dtype, text, message or name)
    return None


def run_entry(entry: Any, options: Any, figures: Figures) -> None:
    """Run the chosen checks of one entry."""
    for check in checks_of(options):
        chosen = ["float64"] if check in (*GRADIENTS, "error") else dtypes(entry)
        for dtype in chosen:
            if options.dtype and dtype not in options.dtype:
                continue
            if dtype not in dtypes(entry) and check != "error":
                continue
            if not applies(entry, check, dtype):
                continue
            try:
                samples = chosen_samples(entry, dtype, check, options.samples)
            except Exception as error:
                print(f"    {title(entry)} {check} {dtype}: no samples: {error!r:.100}")
                continue
            for sample in samples:
                try:
                    failure = run_one(entry, check, dtype, sample, options.seconds)
                except (NotApplicable, Unserved):
                    continue
                figures.total[check] += 1
                if dtype not in figures.dtypes:
                    figures.dtypes.append(dtype)
                reason = departure(entry, check, sample) if failure else None
                if failure is None:
                    figures.passed[check] += 1
                elif reason is not None:
                    figures.named[reason] += 1
                else:
                    figures.failures.append(failure)


def checks_of(options: Any) -> list[str]:
    """The checks that the options ask for."""
    if options.checks:
        return list(options.checks)
    if options.errors:
        return ["error"]
    if options.gradients:
        return list(GRADIENTS)
    return [name for name in CHECKS if name != "second" or not options.no_second]


def run(options: Any) -> int:
    """Run the sweep; how many operators are not whole is the exit status."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    wanted = [
        name
        for family, names in families().items()
        for name in names
        if (not options.op or name in options.op)
        and (not options.family or any(word in family for word in options.family))
    ]
    done: dict[str, Figures] = {}
    for name in wanted:
        figures = done[name] = Figures()
        begun = time.monotonic()
        for entry in entries()[name]:
            run_entry(entry, options, figures)
        print_line(name, figures, time.monotonic() - begun, options)
        if options.json:
            merge(options.json, name, figures, options)
    causes = Counter(each.cause for one in done.values() for each in one.failures)
    print(f"\n{sum(f.whole() for f in done.values())} of {len(done)} operators whole")
    for cause, count in causes.most_common(40):
        where = [name for name, one in done.items() if any(f.cause == cause for f in one.failures)]
        print(f"{count:6d}  {cause}   [{' '.join(where[:8])}]")
    return sum(not each.whole() for each in done.values())


def print_line(name: str, figures: Figures, seconds: float, options: Any) -> None:
    """One operator's counts, and its first failures by cause."""
    counts = "  ".join(
        f"{check} {figures.passed[check]}/{figures.total[check]}"
        for check in CHECKS
        if figures.total[check]
    )
    print(
        f"{'ok  ' if figures.whole() else 'FAIL'} {name}  {counts}  ({seconds:.1f} s)", flush=True
    )
    seen: Counter[tuple[str, str]] = Counter()
    for each in figures.failures:
        seen[each.check, each.cause] += 1
        if seen[each.check, each.cause] == 1 and (options.keep_going or len(seen) <= 5):
            print(f"       {each.check} {each.dtype}: {each.message.splitlines()[0][:200]}")
            if options.verbose:
                print(f"         {each.sample[:300]}")


# --- figures on disk


def merge(path: Path, name: str, figures: Figures, options: Any) -> None:
    """Put an operator's counts into the file, for the checks that were run; those of other devices than the interpreter in one number."""
    kept = json.loads(path.read_text()) if path.exists() else {}
    before = kept.get(name, {"dtypes": [], "checks": {}})
    if options.device != "interpret":
        counts = [sum(figures.passed.values()), sum(figures.total.values())]
        before.setdefault("devices", {})[options.device] = counts
        figures = Figures()
    else:
        for check in checks_of(options):
            before["checks"].pop(check, None)
    before["dtypes"] = [each for each in DTYPES if each in {*before["dtypes"], *figures.dtypes}]
    for check in figures.total:
        before["checks"][check] = [figures.passed[check], figures.total[check]]
    if figures.total:
        before["named"] = dict(figures.named)
    kept[name] = before
    path.write_text(json.dumps(kept, indent=1))


def document(source: Path, target: Path) -> None:
    """Write the table of operators from the figures in `source`."""
    kept = json.loads(source.read_text())
    lines = []
    summary = []
    for family, names in families().items():
        rows = []
        whole = 0
        for name in names:
            figures = kept.get(name)
            if figures is None:
                rows.append(f"| `{name}` | not in these figures |" + " |" * (len(CHECKS) + 2))
                continue
            checks, places = figures["checks"], figures.get("devices", {})
            named = sum(figures.get("named", {}).values())
            complete = bool(checks) and sum(b - a for a, b in checks.values()) == named
            whole += complete
            cells = ["{}/{}".format(*checks[check]) if check in checks else "" for check in CHECKS]
            mark = "in part" if not complete else f"whole, but {named} named" if named else "whole"
            whole_on = [f"{each}" for each, (a, b) in sorted(places.items()) if a == b]
            partly = [f"{each} {a}/{b}" for each, (a, b) in sorted(places.items()) if a != b]
            cells = [mark, str(len(figures["dtypes"])), *cells, ", ".join(whole_on + partly)]
            rows.append(f"| `{name}` | " + " | ".join(cells) + " |")
        measured = sum(name in kept for name in names)
        summary.append(f"| {family} | {len(names)} | {measured} | {whole} |")
        lines += [f"\n## {family[0].upper()}{family[1:]}\n"]
        lines += ["| operator | | dtypes | " + " | ".join(CHECKS) + " | devices |"]
        lines += ["|---|---|---|" + "---|" * (len(CHECKS) + 1), *rows]
    reasons = [
        f"- `{name}`, {count} samples: {reason}."
        for name, figures in kept.items()
        for reason, count in figures.get("named", {}).items()
    ]
    target.write_text("\n".join([HEAD, *summary, NAMED, *reasons, *lines, ""]))


HEAD = """# Operators

Samples of PyTorch's operator database that pass, of those that apply, by what is checked (`tests/database/checks.py`): values, the
method of Tensor, the in-place form, `out=`, the types of errors; in float64 gradients, second gradients, tangents (forward mode) and a
batch of two under `vmap`. All of that on the interpreter; `devices` says on which others values are right, too, for a sample of each class of
dtypes (bool, int64, float32, bfloat16; CUDA on the emulator of tests/cuda_emulator, cpu and opencl int64 and float32). Samples that need complex numbers or sparse
tensors are left out. An operator is whole when every sample passes, or is named with its reason. All samples and reference inputs were run, but of the 36
operators that came last (windows, Bessel's functions, orthogonal polynomials, `ormqr`) three a dtype (`--samples 3`).

Written by

    python -m tests.sweep --json figures.json
    python -m tests.sweep --device cpu --checks value --samples 1 --dtype int64 float32 --json figures.json     # and opencl, cuda
    python -m tests.sweep --document figures.json docs/operators.md

| family | operators | measured | whole |
|---|---|---|---|"""

NAMED = """
## Samples for which PyTorch is not followed

They are counted in the table, as not passed. Of equal elements `sort`, `argsort` and `topk` put any first unless they are asked to be stable, and `kthvalue` and `mode` name any:
for them it is compared what stands at the indices; singular vectors are compared up to their signs.
"""
