"""Draws a comparison as one SVG: the tip's true gain over the night's runs, a line for every policy, no library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 64, 180, 44, 52
"""Margins in pixels: numbers at the left, names at the right, a title, the runs below."""
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#666666", "#b8a900")
"""Okabe and Ito's palette, which colour-blind readers tell apart."""
DASHES = ("", "6 3", "2 3", "8 3 2 3")
"""Lines also differ in print without colour."""
TICKS = 5
LABEL_GAP = 16  # least distance between two names, in pixels
SCALE = 1e4  # gains are shown in units of 0.0001 bpb


def draw_courses(courses: Mapping[str, Sequence[float]], title: str) -> str:
    """Return the chart as SVG text.

    Args:
        courses: Policy to its tip's mean true gain in bpb after every run.
        title: One line above it.
    """
    runs = max(2, max(map(len, courses.values())))
    top = max(0.0001, max(max(course) for course in courses.values())) * SCALE * 1.05
    x_scale, y_scale = (WIDTH - LEFT - RIGHT) / (runs - 1), (HEIGHT - TOP - BOTTOM) / top
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        'font-family="system-ui, sans-serif" font-size="13" fill="#222">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="24" font-size="15">{escape(title)}</text>',
    ]
    for tick in range(TICKS + 1):
        value, run = top * tick / TICKS, round((runs - 1) * tick / TICKS)
        y, x = HEIGHT - BOTTOM - value * y_scale, LEFT + run * x_scale
        parts += [
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>',
            f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:.0f}</text>',
            f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{run + 1}</text>',
        ]
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts += [
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 12}" text-anchor="middle">runs of the night</text>',
        f'<text transform="translate(16 {middle}) rotate(-90)" text-anchor="middle">true gain, 1e-4 bpb</text>',
    ]
    below = HEIGHT + 0.0
    for place, name in sorted(enumerate(courses), key=lambda item: courses[item[1]][-1]):
        points = [
            f"{LEFT + i * x_scale:.1f},{HEIGHT - BOTTOM - gain * SCALE * y_scale:.1f}"
            for i, gain in enumerate(courses[name])
        ]
        colour, dash = COLOURS[place % len(COLOURS)], DASHES[place // 2 % len(DASHES)]
        end = HEIGHT - BOTTOM - courses[name][-1] * SCALE * y_scale
        below = min(end, below - LABEL_GAP)
        parts += [
            f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" stroke-width="2" '
            f'stroke-dasharray="{dash}"/>',
            f'<text x="{WIDTH - RIGHT + 8}" y="{below + 4:.1f}" fill="{colour}">{escape(name)} '
            f"{courses[name][-1] * SCALE:.0f}</text>",
        ]
    return "\n".join([*parts, "</svg>", ""])
