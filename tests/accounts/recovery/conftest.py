"""A service whose mails come to the test."""

from pathlib import Path

import pytest

from service.settings import Settings
from service.testing.application import make_settings
from tests.support.smtp import SmtpServer


@pytest.fixture
def settings(database_url: str, tmp_path: Path, smtp: SmtpServer) -> Settings:
    return make_settings(
        database_url=database_url,
        data_dir=tmp_path,
        refuse_common_passwords=True,
        smtp_url=smtp.url,
        mail_from="The service <hello@service.example>",
        public_url="https://service.example/app/",
    )
