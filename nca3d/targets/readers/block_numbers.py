"""How Minecraft's files pack the numbers of blocks: Sponge's schematics byte by byte, Litematica's bit by bit.

They are unpacked here because that is a page for both, where a library for each format would be two more to install.
"""

from pathlib import Path

import numpy as np

from nca3d.errors import InputError


def varints(data: np.ndarray, count: int, path: Path) -> np.ndarray:
    """Returns whole numbers of seven bits a byte, the lowest first, the highest bit set in all bytes but a number's last.

    Args:
        data: The bytes, uint8 (n,).
        count: How many numbers there are.
        path: The name that errors give the file.

    Returns:
        The numbers, int64 (count,).

    Raises:
        InputError: If there are more or fewer of them.
    """
    ends = np.flatnonzero(data < 128)
    found = f"{len(ends):,} numbers"
    if len(ends) != count or (len(data) and data[-1] >= 128):
        raise InputError(path, "BlockData", found, f"{count:,}, one for each block")
    starts = np.concatenate([[0], ends[:-1] + 1])
    numbers = np.zeros(count, np.int64)
    for place in range(int((ends - starts).max(initial=0)) + 1):
        if place == 5:
            raise InputError(path, "BlockData", "a number of more than five bytes", "numbers of 32 bits")
        there = starts + place <= ends
        numbers[there] |= (data[starts[there] + place] & 127).astype(np.int64) << 7 * place
    return numbers


def packed_bits(longs: np.ndarray, count: int, entries: int, path: Path) -> np.ndarray:
    """Returns whole numbers that lie bit by bit in 64-bit ones, also across their borders, the lowest bits first.

    Args:
        longs: The 64-bit numbers (n,).
        count: How many numbers are packed in them.
        entries: How many entries the palette has, which says how many bits a number takes.
        path: The name that errors give the file.

    Returns:
        The numbers, int64 (count,).

    Raises:
        InputError: If there are more or fewer of them.
    """
    width = max(2, (entries - 1).bit_length())
    need = -(-count * width // 64)
    if len(longs) < need or longs.dtype.itemsize != 8:
        raise InputError(path, "BlockStates", f"{len(longs):,} numbers", f"{need:,} for {count:,} blocks of {width} bits")
    # One more, so that the last number has a neighbour to look at.
    words = np.append(longs[:need].astype(np.int64).view(np.uint64), np.uint64(0))
    numbers = np.empty(count, np.int64)
    for start in range(0, count, 1 << 20):  # a piece at a time: each takes 64 bytes a block
        first = np.arange(start, min(start + (1 << 20), count), dtype=np.uint64) * np.uint64(width)
        word, bit = (first >> np.uint64(6)).astype(np.int64), first & np.uint64(63)
        # A shift by 64 means nothing to a processor: what lies beyond goes in two steps.
        beyond = words[word + 1] << (np.uint64(63) - bit) << np.uint64(1)
        numbers[start : start + len(first)] = (words[word] >> bit | beyond) & np.uint64((1 << width) - 1)
    return numbers
