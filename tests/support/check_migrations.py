"""Run the migrations on a new database, and compare what they made with the models."""

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from alembic import command
from alembic.util import CommandError

from service import embedded_postgres
from service.db import migrations


def main() -> None:
    """Exit with 1, saying what differs, when a migration is missing."""
    with TemporaryDirectory() as folder, embedded_postgres.start(Path(folder)) as server:
        os.environ["DATABASE_URL"] = server.url("service")
        command.upgrade(migrations.config(), "head")
        try:
            command.check(migrations.config())
        except CommandError as error:
            sys.exit(f"The models need a migration: {error}")


if __name__ == "__main__":
    main()
