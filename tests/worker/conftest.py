"""A worker that sends its mails to the test."""

from pathlib import Path

import pytest

from service.settings import Settings
from service.testing.application import make_settings
from tests.support.smtp import SmtpServer


@pytest.fixture
def settings(database_url: str, tmp_path: Path, smtp: SmtpServer) -> Settings:
    return make_settings(database_url=database_url, data_dir=tmp_path, smtp_url=smtp.url)
