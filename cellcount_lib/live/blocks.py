"""The blocks of the shipped c-ResUnet for the page that shows what each of them computes.

Taught in: 02_architectures

The page runs the same ONNX file as the page that counts, with more outputs: a message of Protocol
Buffers that is appended to another of its kind is merged with it, so the file itself stays.
"""

import base64
from typing import Any

from cellcount_lib.prediction.models import NEURONS

NETWORK = NEURONS
MULTIPLE = 8  # three poolings (models/resunet.py)

# What leaves each block: its name for a reader, its step in pixels, its value in the ONNX file.
# Exported anew, a value may have another name; a test compares all of them with torch's.
BLOCKS = {
    "colour": ("learned grey", 1, "elu"),
    "encoder1": ("encoder, level 1", 1, "conv2d_2"),
    "encoder2": ("encoder, level 2", 2, "add_94"),
    "encoder3": ("encoder, level 3", 4, "add_140"),
    "bottleneck.0": ("bottleneck, first block", 8, "add_186"),
    "bottleneck.1": ("bottleneck, second block", 8, "add_222"),
    "decoder3": ("decoder, level 3", 4, "add_268"),
    "decoder2": ("decoder, level 2", 2, "add_314"),
    "decoder1": ("decoder, level 1", 1, "add_360"),
    "head": ("logit of “cell”", 1, "logits"),
}

# For every row of a map, the first and the last row of the picture that it sees.
Rows = list[tuple[int, int]]


def about() -> dict[str, Any]:
    """Return what the page must know of the blocks.

    Which rows a unit sees depends on its place on the grid of the poolings: `sees` has, for each
    place in turn, the first and last row, counted from the unit's own.
    """
    side = 64 * MULTIPLE  # more than twice any field, so that the middle is far from the border
    blocks = []
    for block, rows in seen_rows(side).items():
        title, step, value = BLOCKS[block]
        middle = side // step // 2
        sees = [
            [row - unit * step for row in rows[unit]]
            for unit in range(middle, middle + MULTIPLE // step)
        ]
        blocks.append({"title": title, "value": value, "step": step, "sees": sees})
    return {"network": NETWORK, "multiple": MULTIPLE, "blocks": blocks}


def seen_rows(side: int) -> dict[str, Rows]:
    """Return the rows of a picture that each row of a block's maps depends on.

    Columns are alike.

    Examples
    --------
    >>> rows = seen_rows(512)
    >>> [rows[name][30] for name in ("colour", "encoder1", "bottleneck.0")]
    [(30, 30), (28, 32), (194, 293)]
    """
    rows: dict[str, Rows] = {"colour": [(row, row) for row in range(side)]}
    rows["encoder1"] = _convolved(rows["colour"], 3)
    rows["encoder2"] = _convolved(_pooled(rows["encoder1"]), 3)
    rows["encoder3"] = _convolved(_pooled(rows["encoder2"]), 3)
    rows["bottleneck.0"] = _convolved(_pooled(rows["encoder3"]), 5)
    rows["bottleneck.1"] = _convolved(rows["bottleneck.0"], 5)
    below = rows["bottleneck.1"]
    for level in (3, 2, 1):
        joined = _joined(_doubled(below), rows[f"encoder{level}"])
        below = rows[f"decoder{level}"] = _convolved(joined, 3)
    return rows | {"head": below}


def _convolved(rows: Rows, kernel: int) -> Rows:
    """Two convolutions, as every block has; the shortcut beside them sees less."""
    reach, last = 2 * (kernel // 2), len(rows) - 1
    return [
        (rows[max(0, unit - reach)][0], rows[min(last, unit + reach)][1])
        for unit in range(len(rows))
    ]


def _pooled(rows: Rows) -> Rows:
    return [(rows[unit][0], rows[unit + 1][1]) for unit in range(0, len(rows), 2)]


def _doubled(rows: Rows) -> Rows:
    return [rows[unit // 2] for unit in range(2 * len(rows))]


def _joined(ours: Rows, theirs: Rows) -> Rows:
    return [(min(a, c), max(b, d)) for (a, b), (c, d) in zip(ours, theirs, strict=True)]


def outputs() -> str:
    """Return the bytes that make every block an output of the ONNX file, as base64."""
    values = [value for _, _, value in BLOCKS.values() if value != "logits"]
    return base64.b64encode(b"".join(map(_as_output, values))).decode()


def _as_output(value: str) -> bytes:
    """Encode a model that has nothing but one output, of float32 (``onnx.proto``)."""
    float32 = _message(2, _message(1, b"\x08\x01"))  # type { tensor_type { elem_type: FLOAT } }
    return _message(7, _message(12, _message(1, value.encode()) + float32))  # graph { output { name


def _message(number: int, content: bytes) -> bytes:
    """Encode a field of Protocol Buffers that has a length, below 128."""
    return bytes([number << 3 | 2, len(content)]) + content
