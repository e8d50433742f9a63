"""Cumulative error curves as inline SVG."""

from html import escape

from facewright.evaluate.results import Curve

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 640, 330, 52, 44, 12, 16
OURS, BASELINE = "#2563c9", "#9aa3b2"


def curve_svg(curve: Curve, method: str) -> str:
    """The method's curve over the mean head's."""
    limit = max(curve.thresholds[-1], 1e-9)

    def place(x: float, y: float) -> str:
        column = LEFT + (WIDTH - LEFT - RIGHT) * x / limit
        row = HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * y
        return f"{column:.1f},{row:.1f}"

    parts = [_grid(limit, curve)]
    for shares, color in ((curve.baseline_shares, BASELINE), (curve.shares, OURS)):
        if shares:
            points = " ".join(place(x, y) for x, y in zip(curve.thresholds, shares, strict=True))
            parts.append(f"<polyline points='{points}' fill='none' stroke='{color}' stroke-width='2.2'/>")
    names = [(method, OURS)] + ([("mean head", BASELINE)] if curve.baseline_shares else [])
    for k, (name, color) in enumerate(names):
        y = HEIGHT - BOTTOM - 14 - 20 * (len(names) - 1 - k)
        x = WIDTH - RIGHT - 150
        parts.append(f"<rect x='{x}' y='{y - 9}' width='14' height='4' fill='{color}'/>")
        parts.append(f"<text x='{x + 20}' y='{y - 3}'>{escape(name)}</text>")
    return (
        f"<svg viewBox='0 0 {WIDTH} {HEIGHT}' width='{WIDTH}' role='img' font-size='12' "
        f"font-family='system-ui, sans-serif' fill='#1d2330'>{''.join(parts)}</svg>"
    )


def _grid(limit: float, curve: Curve) -> str:
    lines = []
    for k in range(6):
        y = HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * k / 5
        lines.append(f"<line x1='{LEFT}' y1='{y:.1f}' x2='{WIDTH - RIGHT}' y2='{y:.1f}' stroke='#e3e7ee'/>")
        lines.append(f"<text x='{LEFT - 8}' y='{y + 4:.1f}' text-anchor='end'>{20 * k} %</text>")
        x = LEFT + (WIDTH - LEFT - RIGHT) * k / 5
        lines.append(f"<line x1='{x:.1f}' y1='{TOP}' x2='{x:.1f}' y2='{HEIGHT - BOTTOM}' stroke='#e3e7ee'/>")
        lines.append(f"<text x='{x:.1f}' y='{HEIGHT - BOTTOM + 16}' text-anchor='middle'>{limit * k / 5:g}</text>")
    label = f"{escape(curve.label)} [{escape(curve.unit)}]"
    middle = (LEFT + WIDTH - RIGHT) / 2
    lines.append(f"<text x='{middle:.0f}' y='{HEIGHT - 8}' text-anchor='middle'>{label}</text>")
    return "".join(lines)
