"""A service whose mails come to the test."""

from pathlib import Path

from service.settings import Settings
from service.testing.application import make_settings
from tests.support.smtp import SmtpServer


def mailing_settings(
    database_url: str, data_dir: Path, smtp: SmtpServer, **others: object
) -> Settings:
    """Settings of a service at https://service.example whose mails `smtp` takes."""
    return make_settings(
        database_url=database_url,
        data_dir=data_dir,
        smtp_url=smtp.url,
        mail_from="The service <hello@service.example>",
        public_url="https://service.example/app/",
        **others,
    )
