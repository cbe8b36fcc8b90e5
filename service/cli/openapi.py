"""`service openapi`."""

import json

import click

from service.app import create_app
from service.ids import new_token
from service.settings import Environment, load_settings
from service.web.openapi import document


@click.command()
def openapi() -> None:
    """Write the OpenAPI document to standard output."""
    # Nothing connects to this database, and the secret signs nothing. No mail is sent, so that what
    # production needs for it may be missing.
    settings = load_settings(
        service_env=Environment.TESTING, database_url="postgresql:///", secret_key=new_token()
    )
    app = create_app(settings)
    click.echo(json.dumps(document(app), indent=2, ensure_ascii=False))
