"""`service openapi`."""

import json

import click

from service.app import create_app
from service.ids import new_token
from service.settings import load_settings


@click.command()
def openapi() -> None:
    """Write the OpenAPI document to standard output."""
    # Nothing connects to this database; the secret signs nothing.
    settings = load_settings(database_url="postgresql:///", secret_key=new_token())
    app = create_app(settings)
    document = app.extensions["QUART_SCHEMA"].openapi_provider.schema()
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))
