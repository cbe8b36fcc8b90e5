"""The locales of databases, in all of which the service answers the same."""

from typing import Final

import pytest

from tests.support.system_postgres import PROGRAMS

# Options of CREATE DATABASE. The last is the embedded PostgreSQL's own locale.
_EMBEDDED: Final = {
    "C": "LOCALE_PROVIDER libc LOCALE 'C' TEMPLATE template0",
    "C.UTF-8": "LOCALE_PROVIDER libc LOCALE 'C.UTF-8' TEMPLATE template0",
    "C.UTF-8 builtin": "",
}
_ICU: Final = "LOCALE_PROVIDER icu ICU_LOCALE '{}' LOCALE 'C.UTF-8' TEMPLATE template0"

# The fixture of the databases, and the options.
LOCALES: Final = [
    *(pytest.param(("service_databases", text), id=name) for name, text in _EMBEDDED.items()),
    *(
        pytest.param(("icu_databases", _ICU.format(name)), id=name, marks=pytest.mark.proof)
        for name in ("tr-TR", "en-US")
        if PROGRAMS
    ),
]
