"""Curves as a picture: one panel each, memory in MiB over seconds."""

WIDTH, HEIGHT, MARGIN = 720, 130, 46


def draw(path, panels):
    parts = []
    for index, (title, points) in enumerate(panels):
        top = index * (HEIGHT + 40) + 24
        last, most = points[-1][0] or 1, max(value for _, value in points) * 1.1
        line = " ".join(f"{MARGIN + x / last * (WIDTH - MARGIN - 10):.1f},{top + HEIGHT - y / most * HEIGHT:.1f}" for x, y in points)
        parts.append(f'<text x="{MARGIN}" y="{top - 6}">{title}</text>')
        parts.append(f'<rect x="{MARGIN}" y="{top}" width="{WIDTH - MARGIN - 10}" height="{HEIGHT}" fill="none" stroke="#ccc"/>')
        parts.append(f'<polyline points="{line}" fill="none" stroke="#06c" stroke-width="1.5"/>')
        parts.append(f'<text x="4" y="{top + 10}">{most / 1.1:.0f} MiB</text><text x="4" y="{top + HEIGHT}">0</text>')
        parts.append(f'<text x="{WIDTH - 10}" y="{top + HEIGHT + 13}" text-anchor="end">{last:.0f} s</text>')
    height = len(panels) * (HEIGHT + 40) + 10
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="11">'
    path.write_text(head + "".join(parts) + "</svg>\n", encoding="utf-8")
