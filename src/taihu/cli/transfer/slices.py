"""An export's slices: stretches of time that hold about as many readings each as one answer may."""

from collections.abc import Iterator, Sequence

CELLS = 4_000_000  # values in a slice, about
ROWS_MAX = 250_000


def rows_of_slice(columns: int) -> int:
    """How many rows a slice of so many columns has."""
    return max(1, min(ROWS_MAX, CELLS // max(columns, 1)))


def slices(counts: Sequence[tuple[int, int]], width: int, most: int) -> Iterator[tuple[int, int, int]]:
    """(start, end, rows) of disjoint slices that cover all rows, in order.

    Stretches are joined while they hold at most `most` rows; one that holds more is cut into equal parts of time.

    Args:
        counts: (start, rows) of stretches of `width`, by time; those without a row are left out.
        width: their length.
        most: rows of a slice.

    >>> list(slices([(0, 5), (10, 5), (20, 25), (50, 3)], 10, 10))
    [(0, 20, 10), (20, 23, 9), (23, 26, 8), (26, 30, 8), (50, 60, 3)]
    """
    start = end = rows = 0
    for begin, count in counts:
        if rows and rows + count > most:
            yield start, end, rows
            rows = 0
        if count > most:
            parts = min(-(-count // most), width)
            edges = [begin + width * part // parts for part in range(parts + 1)]
            for part in range(parts):
                yield edges[part], edges[part + 1], (count + parts - 1 - part) // parts
            continue
        if not rows:
            start = begin
        end, rows = begin + width, rows + count
    if rows:
        yield start, end, rows
