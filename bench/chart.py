"""The chart of a comparison, as SVG text: bars by group, on a ground of its own, so that it is legible on any page."""

from html import escape

WIDTH, MARGIN, LABEL, BAR, GAP, TITLE = 860, 20, 400, 20, 8, 34

STYLE = """
  .ground { fill: #ffffff; stroke: #d0d7de }
  .text { fill: #1f2328; font: 13px system-ui, sans-serif }
  .title { font-weight: 600 }
  .ours { fill: #0a7d4f }
  .peer { fill: #8c959f }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #0d1117; stroke: #30363d }
    .text { fill: #e6edf3 }
    .ours { fill: #3fb950 }
    .peer { fill: #6e7681 }
  }
"""


def svg(bars, caption):
    """The whole file. `bars` as a part gives them; a chart of each name, one below the other."""
    charts = {}
    for bar in bars:
        charts.setdefault(bar["chart"], []).append(bar)
    drawn, y = [], MARGIN
    for title, group in charts.items():
        y = _group(drawn, title, group, y)
    _text(drawn, MARGIN, y + 14, caption)
    height = y + 14 + MARGIN
    frame = f'<rect class="ground" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="6"/>'
    size = f'width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{escape(", ".join(charts))}">'
    return "\n".join([head, f"<style>{STYLE}</style>", frame, *drawn, "</svg>"]) + "\n"


def _group(drawn, title, group, y):
    _text(drawn, MARGIN, y + 16, title, "text title")
    y += TITLE
    # Room for the number behind the longest bar.
    longest, most = WIDTH - LABEL - MARGIN - 90, max(bar["value"] for bar in group) or 1
    for bar in group:
        width = max(1, round(bar["value"] / most * longest))
        kind = "ours" if bar["ours"] else "peer"
        _text(drawn, LABEL - 10, y + 15, bar["name"], anchor="end")
        drawn.append(f'<rect class="{kind}" x="{LABEL}" y="{y}" width="{width}" height="{BAR}" rx="3"/>')
        _text(drawn, LABEL + width + 8, y + 15, f"{bar['value']:,.0f}")
        y += BAR + GAP
    return y + GAP


def _text(drawn, x, y, text, kind="text", anchor="start"):
    drawn.append(f'<text class="{kind}" x="{x}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>')
