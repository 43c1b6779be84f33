"""Streams and events of a GPU, with torch.cuda's names.

In: a GPU. Out: `Stream`s and `Event`s. A GPU runs everything in one stream, in the order in which it is asked for, so a `Stream` is a name for that one: what waits for
another stream need not wait, and what PyTorch would run side by side runs one after the other, which its streams allow. An event is one of the driver's. It stands
behind what has been asked for when it is recorded: pending writes are, values that nobody has read are not.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any

from ..functional import devices as names
from ..runtime import device as devices
from ..runtime import realize
from ..runtime.cuda_driver import driver


def gpu(device: Any) -> Any:
    """The runtime's device: by number, name or object; None is the current one."""
    return devices.get(f"cuda:{number_of(device)}")


def number_of(device: Any) -> int:
    """The number of a GPU.

    Raises:
        ValueError: it is another kind of device.
    """
    if isinstance(device, int):
        return device
    found = names.device("cuda") if device is None else names.device_of(device)
    if found.type != "cuda":
        raise ValueError(f"Expected a cuda device, but got: {found}")
    return names.CURRENT_CUDA.index if found.index is None else found.index


class Stream:
    """A name for the stream of a GPU; `priority` changes nothing. Same as torch.cuda.Stream.

    Raises:
        AssertionError: there is no pycuda. RuntimeError: there is no driver or no such GPU.
    """

    def __init__(self, device: Any = None, priority: int = 0, **_: Any) -> None:
        self._gpu = gpu(device)
        _ = self._gpu.handle
        self.priority = priority

    @property
    def device(self) -> names.device:
        """The GPU."""
        return names.device(self._gpu.name)

    @property
    def cuda_stream(self) -> int:
        """The driver's handle, for other libraries."""
        return int(self._gpu.stream.handle)

    def synchronize(self) -> None:
        """Wait for everything that runs here."""
        realize.submit("a stream is waited for")
        self._gpu.synchronize()

    def query(self) -> bool:
        """Whether everything has run."""
        with self._gpu.context.entered():
            return bool(self._gpu.stream.is_done())

    def wait_stream(self, stream: Stream) -> None:
        """Let what comes here wait for another stream: for one of the same GPU it does."""
        if stream._gpu is not self._gpu:
            self.wait_event(stream.record_event())

    def wait_event(self, event: Event) -> None:
        """Let what comes here wait for an event."""
        event.wait(self)

    def record_event(self, event: Event | None = None) -> Event:
        """An event behind everything that has been asked for."""
        found = Event() if event is None else event
        found.record(self)
        return found

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and self._gpu is other._gpu

    def __hash__(self) -> int:
        return hash(self._gpu.name)

    def __repr__(self) -> str:
        return f"<torch.cuda.Stream device={self.device} cuda_stream={self.cuda_stream:#x}>"


class Event:
    """A point in what a GPU runs. Same as torch.cuda.Event; `blocking` waits without a loop, `interprocess` is not there.

    Raises:
        NotImplementedError: `interprocess`.
    """

    def __init__(
        self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False
    ) -> None:
        if interprocess:
            raise NotImplementedError("Event: events of several processes are not there")
        self._timed, self._blocking = enable_timing, blocking
        self._gpu: Any = None
        self._event: Any = None

    def record(self, stream: Stream | None = None) -> None:
        """Stand behind everything that a GPU has been asked for; pending writes are submitted before."""
        realize.submit("an event is recorded")
        found = (stream or current_stream())._gpu
        if self._gpu is not None and found is not self._gpu:
            raise RuntimeError(
                f"Event device {self._gpu.name} does not match recording stream's device {found.name}."
            )
        self._gpu = found
        with found.context.entered():
            if self._event is None:
                flags = driver().event_flags
                chosen = 0 if self._timed else flags.DISABLE_TIMING
                self._event = driver().Event(
                    chosen | (flags.BLOCKING_SYNC if self._blocking else 0)
                )
            self._event.record(found.stream)

    def wait(self, stream: Stream | None = None) -> None:
        """Let what comes into a stream wait for this."""
        found = (stream or current_stream())._gpu
        if self._event is None or found is self._gpu:
            return  # one stream runs in order
        with found.context.entered():
            found.stream.wait_for_event(self._event)

    def query(self) -> bool:
        """Whether everything before it has run."""
        if self._event is None:
            return True
        with self._gpu.context.entered():
            return bool(self._event.query())

    def synchronize(self) -> None:
        """Wait until everything before it has run."""
        if self._event is not None:
            with self._gpu.context.entered():
                self._event.synchronize()

    def elapsed_time(self, end_event: Event) -> float:
        """The milliseconds between two events.

        Raises:
            ValueError: one of them measures no time or was not recorded. RuntimeError: one has not been reached.
        """
        both = (self, end_event)
        if not all(each._timed for each in both):
            raise ValueError("Both events must be created with argument 'enable_timing=True'.")
        if any(each._event is None for each in both):
            raise ValueError("Both events must be recorded before calculating elapsed time.")
        if not all(each.query() for each in both):
            raise RuntimeError("Both events must be completed before calculating elapsed time.")
        with self._gpu.context.entered():
            return float(end_event._event.time_since(self._event))

    def __repr__(self) -> str:
        return (
            "<torch.cuda.Event uninitialized>"
            if self._event is None
            else f"<torch.cuda.Event {int(self._event.handle):#x}>"
        )


class stream:
    """A block whose work goes into a stream; None changes nothing. Same as torch.cuda.stream."""

    def __init__(self, stream: Stream | None) -> None:
        self.stream = stream
        self.before = -1

    def __enter__(self) -> None:
        if self.stream is not None:
            self.before = names.CURRENT_CUDA.index
            names.CURRENT_CUDA.index = number_of(self.stream.device)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self.stream is not None:
            names.CURRENT_CUDA.index = self.before


def current_stream(device: Any = None) -> Stream:
    """The stream of a GPU. Same as torch.cuda.current_stream."""
    return Stream(device)


def default_stream(device: Any = None) -> Stream:
    """The stream of a GPU, which is the only one. Same as torch.cuda.default_stream."""
    return Stream(device)


def set_stream(stream: Stream) -> None:
    """Let "cuda" mean the GPU of a stream. Same as torch.cuda.set_stream."""
    names.CURRENT_CUDA.index = number_of(stream.device)
