"""lazygrad.compiler: functions that stay as they are written, also where a compiled one calls them."""

from __future__ import annotations

from typing import Any

import pytest

import lazygrad as lg


def test_disabled_function_runs_each_time() -> None:
    """Its own effects on Python happen at each call; the compiled function around it gives the same results, and says why it is not compiled."""
    seen: list[float] = []

    @lg.compiler.disable(reason="it prints")
    def look(x: Any) -> Any:
        seen.append(1.0)
        return x * 2

    compiled = lg.compile(lambda x: look(x) + 1)
    with pytest.warns(UserWarning, match="compiler.disable keeps as it is written: it prints"):
        assert compiled(lg.ones(2)).tolist() == [3.0, 3.0]
    for value in (2.0, 3.0, 4.0):
        assert compiled(lg.full((2,), value)).tolist() == [2 * value + 1] * 2
    assert len(seen) == 4
    with pytest.raises(RuntimeError, match="cannot be compiled"):
        lg.compile(lambda x: look(x) - 1, fullgraph=True)(lg.ones(2))


def test_disabled_module_and_compiled_function() -> None:
    net = lg.nn.Linear(2, 2)
    x = lg.ones(1, 2)
    expected = net(x).tolist()
    assert lg.compiler.disable(net) is net and net(x).tolist() == expected
    again = lg.compiler.disable(lg.compile(lambda x: x + 1))
    assert again(x).tolist() == [[2.0, 2.0]]
    with pytest.raises(TypeError):
        lg.compiler.disable(3)  # type: ignore[call-overload]


def test_is_compiling() -> None:
    """True while a call is traced."""
    found: list[bool] = []

    def step(x: Any) -> Any:
        return x * 3 if lg.compiler.is_compiling() else x * 2

    assert not lg.compiler.is_compiling() and not lg.compiler.is_exporting()
    assert step(lg.ones(1)).tolist() == [2.0]
    compiled = lg.compile(step)
    found = [compiled(lg.ones(1)).tolist() == [3.0] for _ in range(3)]
    assert found == [True] * 3
