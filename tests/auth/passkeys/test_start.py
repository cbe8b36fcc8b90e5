"""What passkeys cost those who use none."""

import subprocess
import sys

from service.settings import PROJECT


def test_the_library_is_not_imported_before_a_credential_is_shown() -> None:
    code = "import sys, service.app; print([m for m in sys.modules if m in ('webauthn', 'cbor2')])"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
