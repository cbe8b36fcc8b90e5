"""Reading the picture of a QR code."""

import re
from xml.etree import ElementTree

_PATH = "{http://www.w3.org/2000/svg}path"


def read_modules(svg: str) -> set[tuple[int, int]]:
    """The dark modules of a code that segno drew, by column and row, the margin included."""
    ground, dark = ElementTree.fromstring(svg).iter(_PATH)
    assert ground.get("fill") == "#fff"
    assert dark.get("stroke") == "#000"
    modules, x, y = set(), 0.0, 0.0
    for command, numbers in re.findall(r"([Mmh])([-0-9. ]+)", dark.get("d", "")):
        values = [float(number) for number in re.findall(r"-?[0-9]*\.?[0-9]+", numbers)]
        if command == "h":
            modules |= {(int(x) + column, int(y)) for column in range(int(values[0]))}
            x += values[0]
        else:
            x, y = values if command == "M" else (x + values[0], y + values[1])
    return modules
