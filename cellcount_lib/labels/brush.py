"""The run lengths of Label Studio's brushes, bit by bit.

They hold the bytes of an RGBA picture, of which alpha is the mask: 32 bits for how many bytes, 5
for the bits of a value less one, four times 4 for the sizes of lengths less one. Then series: a bit
(1: one value, repeated; 0: as many values), two for which size, the length less one, and values.
Source of the format: `rle-pack` of thi.ng/umbrella, which Label Studio uses.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from cellcount_lib.errors import DataError

SIZES = (3, 4, 8, 16)  # bits of lengths, as Label Studio writes them


def encoded(mask: NDArray[np.bool_]) -> list[int]:
    """Return a mask as bytes in Label Studio's run lengths, all four channels alike.

    Examples
    --------
    >>> encoded(np.array([[True]]))
    [0, 0, 0, 4, 57, 27, 252, 127, 224]
    """
    flat = np.repeat(mask.ravel(), 4)
    edges = np.concatenate([[0], np.flatnonzero(np.diff(flat)) + 1, [flat.size]])
    bits = [f"{flat.size:032b}{7:05b}", *(f"{size - 1:04b}" for size in SIZES)]
    for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        value = "1" * 8 if flat[start] else "0" * 8
        for length in _parts(stop - start):
            which = next(i for i, size in enumerate(SIZES) if length <= 2**size)
            bits.append(f"1{which:02b}{length - 1:0{SIZES[which]}b}{value}")
    text = "".join(bits)
    text += "0" * (8 - len(text) % 8)  # one byte more where none is needed, as Label Studio does
    return list(int(text, 2).to_bytes(len(text) // 8, "big"))


def _parts(length: int) -> Iterator[int]:
    longest: int = 2 ** SIZES[-1]
    while length > longest:
        yield longest
        length -= longest
    yield length


def decoded(data: Sequence[int], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the mask: where alpha is not zero."""
    packed = np.array(data, np.int64)
    if packed.ndim != 1 or (packed < 0).any() or (packed > 255).any():
        raise DataError("expected a list of bytes as run lengths")
    bits = np.unpackbits(packed.astype(np.uint8))
    place = 0

    def take(number: int) -> int:
        nonlocal place
        taken = bits[place : place + number]
        place += number
        if len(taken) < number:
            raise DataError("expected run lengths of a whole picture, found them cut off")
        value = 0
        for bit in taken.tolist():
            value = 2 * value + bit
        return value

    total, width = take(32), take(5) + 1
    if total != 4 * shape[0] * shape[1]:
        raise DataError(f"expected run lengths of {shape[0]} x {shape[1]} pixels, found others")
    sizes = [take(4) + 1 for _ in range(4)]
    out = np.zeros(total, bool)
    at = 0
    while at < total:
        repeated = take(1)
        stop = at + 1 + take(sizes[take(2)])
        if stop > total:
            raise DataError("expected run lengths of a whole picture, found longer ones")
        if repeated:
            out[at:stop] = take(width) != 0
        else:
            out[at:stop] = [take(width) != 0 for _ in range(stop - at)]
        at = stop
    return out.reshape(*shape, 4)[..., 3]
