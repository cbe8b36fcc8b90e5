"""A service whose mails come to the test."""

from pathlib import Path

import pytest

from service.settings import Settings
from tests.support.mailing import mailing_settings
from tests.support.smtp import SmtpServer


@pytest.fixture
def settings(database_url: str, tmp_path: Path, smtp: SmtpServer) -> Settings:
    return mailing_settings(database_url, tmp_path, smtp)
