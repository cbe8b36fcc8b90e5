"""`service openapi`."""

import json

import click

from service.app import create_app
from service.ids import new_token
from service.settings import load_settings
from service.web.openapi import document


@click.command()
def openapi() -> None:
    """Write the OpenAPI document to standard output."""
    # Nothing connects to this database; the secret signs nothing, and no mail is sent.
    settings = load_settings(database_url="postgresql:///", secret_key=new_token(), smtp_url="log:")
    app = create_app(settings)
    click.echo(json.dumps(document(app), indent=2, ensure_ascii=False))
