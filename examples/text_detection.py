"""Find lines of text in a picture, with a real ONNX model: PP-OCR's detector, which `pip install rapidocr-onnxruntime` carries.

    pip install 'lazygrad[onnx,examples]' rapidocr-onnxruntime
    python examples/text_detection.py

The script draws lines of text itself, so it knows where they are. It ends with how many of them were found, how well the boxes fit
(area in both, of area in either), the largest difference from onnxruntime and the time of both. The picture with boxes is
text_detection.png.
"""

from __future__ import annotations

import argparse
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from scipy import ndimage

import lazygrad.onnx

WIDTH, HEIGHT = 640, 480
MODEL = "ch_PP-OCRv4_det_infer.onnx"
LINES = [
    ("A lazy compiler", 40, 430, 34, "black"),
    ("that a person can read", 40, 375, 26, "darkblue"),
    ("kernels: 42", 400, 310, 20, "darkred"),
    ("0123456789", 60, 290, 30, "black"),
    ("loops, tiles, vectors", 60, 215, 22, "darkgreen"),
    ("softmax", 430, 180, 32, "purple"),
    ("one graph, one plan", 40, 120, 28, "black"),
    ("page 7", 540, 25, 14, "dimgray"),
]
"""Text, left, bottom, size in points, colour."""
Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels, from the upper left corner."""


def draw() -> tuple[np.ndarray, list[Box]]:
    """The picture, uint8 (HEIGHT, WIDTH, 3), and where its lines of text are."""
    figure = Figure(figsize=(WIDTH / 72, HEIGHT / 72), dpi=72, facecolor="ivory")
    canvas = FigureCanvasAgg(figure)
    boxes = []
    for text, left, bottom, size, colour in LINES:
        shown = figure.text(left / WIDTH, bottom / HEIGHT, text, size=size, color=colour)
        extent = shown.get_window_extent(canvas.get_renderer())
        boxes.append(
            (int(extent.x0), int(HEIGHT - extent.y1), int(extent.x1), int(HEIGHT - extent.y0))
        )
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy(), boxes


def model_path() -> Path:
    """Where the package that carries the model has it; the package is not imported."""
    package = find_spec("rapidocr_onnxruntime")
    if package is None or package.origin is None:
        raise SystemExit("the model comes with another package: pip install rapidocr-onnxruntime")
    return Path(package.origin).parent / "models" / MODEL


def prepared(picture: np.ndarray) -> np.ndarray:
    """The model's input: (1, 3, height, width), from -1 to 1."""
    scaled = (picture.astype(np.float32) / 255 - 0.5) / 0.5
    return np.ascontiguousarray(scaled.transpose(2, 0, 1)[None])


def boxes_of(text: np.ndarray, threshold: float = 0.3, certain: float = 0.6) -> list[Box]:
    """Boxes around the connected parts of a map of probabilities (height, width).

    The model marks the inner part of a line, which is widened by what its training took away: area * 1.6 / perimeter.
    """
    labels, _ = ndimage.label(text > threshold)
    found = []
    for number, (rows, columns) in enumerate(ndimage.find_objects(labels), 1):
        height, width = rows.stop - rows.start, columns.stop - columns.start
        part = labels[rows, columns] == number
        if min(height, width) < 3 or text[rows, columns][part].mean() < certain:
            continue
        more = round(1.6 * height * width / (2 * (height + width)))
        found.append(
            (
                max(columns.start - more, 0),
                max(rows.start - more, 0),
                min(columns.stop + more, text.shape[1]),
                min(rows.stop + more, text.shape[0]),
            )
        )
    return found


def overlap(first: Box, second: Box) -> float:
    """The area in both boxes, of that in either."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    shared = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return shared / (sum(areas) - shared)


def save(picture: np.ndarray, boxes: list[Box], path: str) -> None:
    """Write the picture with the boxes drawn in it."""
    figure = Figure(figsize=(WIDTH / 100, HEIGHT / 100), dpi=150)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.imshow(picture)
    axes.set_axis_off()
    for left, top, right, bottom in boxes:
        frame = Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor="red")
        axes.add_patch(frame)
    figure.savefig(path)


def compare(path: Path, model: lazygrad.onnx.Model, array: np.ndarray, repeats: int) -> str:
    """The largest difference from onnxruntime, and the best times of both, taken in turns."""
    try:
        import onnxruntime
    except ImportError:
        return "onnxruntime is not installed: nothing to compare with"
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = next(iter(model.inputs))
    times: dict[str, list[float]] = {"lazygrad": [], "onnxruntime": []}
    for _ in range(repeats):
        start = time.perf_counter()
        (ours,) = model({name: array}).values()
        times["lazygrad"].append(time.perf_counter() - start)
        start = time.perf_counter()
        (theirs,) = session.run(None, {name: array})
        times["onnxruntime"].append(time.perf_counter() - start)
    best = {library: min(taken) for library, taken in times.items()}
    difference = float(np.abs(ours - theirs).max())
    return (
        f"largest difference from onnxruntime {difference:.1e}; lazygrad {best['lazygrad'] * 1e3:.0f} ms, "
        f"onnxruntime {best['onnxruntime'] * 1e3:.0f} ms, ratio {best['lazygrad'] / best['onnxruntime']:.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Find lines of text in a picture.")
    parser.add_argument("--output", default="text_detection.png", help="the picture with boxes")
    parser.add_argument("--repeats", type=int, default=5, help="runs that are timed")
    arguments = parser.parse_args()
    picture, lines = draw()
    path = model_path()
    start = time.perf_counter()
    model = lazygrad.onnx.load(path)
    loaded = time.perf_counter()
    array = prepared(picture)
    (text,) = model({next(iter(model.inputs)): array}).values()
    print(f"loaded in {loaded - start:.1f} s, first run {time.perf_counter() - loaded:.1f} s")
    boxes = boxes_of(text[0, 0])
    save(picture, boxes, arguments.output)
    fits = [max((overlap(line, box) for box in boxes), default=0.0) for line in lines]
    good = [fit for fit in fits if fit >= 0.5]
    wrong = sum(all(overlap(line, box) < 0.5 for line in lines) for box in boxes)
    print(compare(path, model, array, arguments.repeats))
    print(
        f"{len(good)} of {len(lines)} lines found, boxes fit {np.mean(good or [0.0]):.2f}, {wrong} boxes without a line"
    )


if __name__ == "__main__":
    main()
