"""Run the migrations on a new database, and compare what they made with the models."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from alembic import command

from service import embedded, migrations


def main() -> None:
    """Exit with Alembic's message and code when the models need a migration that is missing."""
    with TemporaryDirectory() as folder, embedded.start(Path(folder)) as server:
        os.environ["DATABASE_URL"] = server.url("service")
        command.upgrade(migrations.config(), "head")
        command.check(migrations.config())


if __name__ == "__main__":
    main()
