"""What README.md says."""

import re

from service.settings import PROJECT

README = (PROJECT / "README.md").read_text()


def section(title: str) -> str:
    """The text below a heading."""
    found = re.search(rf"^## {title}$(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]
