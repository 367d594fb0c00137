"""A QR code for dark and light terminals."""

import segno

BORDER = 2
# Black on white in any theme: colours 16 and 231 of the 256-colour palette, which themes do not change.
COLOURS, RESET = "\033[38;5;16;48;5;231m", "\033[0m"
HALVES = {(0, 0): " ", (1, 0): "▀", (0, 1): "▄", (1, 1): "█"}


def qr_code(text: str) -> str:
    """`text` as a QR code, two rows per line of text, each line with its colours."""
    rows = [list(row) for row in segno.make_qr(text, error="m").matrix_iter(border=BORDER)]
    if len(rows) % 2:
        rows.append([0] * len(rows[0]))
    lines = (
        "".join(HALVES[pair] for pair in zip(*pairs, strict=True)) for pairs in zip(rows[::2], rows[1::2], strict=True)
    )
    return "\n".join(f"{COLOURS}{line}{RESET}" for line in lines)
