"""The chart: well-formed, bars in proportion, names as text."""

import xml.etree.ElementTree as tree

import chart

BARS = [
    {"chart": "Requests", "name": "ours & mine", "value": 3000, "ours": True},
    {"chart": "Requests", "name": "a peer", "value": 1500, "ours": False},
    {"chart": "Events", "name": "alone", "value": 0, "ours": False},
]


def drawn():
    return tree.fromstring(chart.svg(BARS, "made <now>"))


def test_bars_are_in_proportion():
    bars = [e for e in drawn() if e.tag.endswith("rect") and e.get("class") in ("ours", "peer")]
    widths = [int(bar.get("width")) for bar in bars]
    assert [bar.get("class") for bar in bars] == ["ours", "peer", "peer"]
    assert widths[0] == 2 * widths[1]
    assert widths[2] == 1


def test_it_says_names_and_values():
    texts = [e.text for e in drawn() if e.tag.endswith("text")]
    assert texts == ["Requests", "ours & mine", "3,000", "a peer", "1,500", "Events", "alone", "0", "made <now>"]


def test_nothing_lies_outside():
    root = drawn()
    height = int(root.get("height"))
    assert all(float(e.get("y")) <= height for e in root if e.get("y"))
