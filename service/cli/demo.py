"""`service demo`."""

import secrets

import click

from service.cli import demo_data
from service.cli.database import connected, run_with_database, upgrade
from service.settings import Settings


@click.command()
@click.option("--users", type=click.IntRange(0, 10_000_000), default=1_000, show_default=True)
@click.option("--posts", type=click.IntRange(0, 100_000_000), default=10_000, show_default=True)
def demo(users: int, posts: int) -> None:
    """Fill the database with people and posts to try things on.

    Each run adds more, and ends with an email and a password to log in with.
    """
    password = secrets.token_urlsafe(12)
    run_with_database(_fill, users, posts, password)
    click.echo(f"Log in as {demo_data.EMAIL} with the password {password}")
    click.echo(f"({users:,} users and {posts:,} posts were added; the new users share it.)")


async def _fill(settings: Settings, users: int, posts: int, password: str) -> None:
    if settings.production:
        raise click.ClickException("`service demo` does not run in production.")
    await upgrade(settings)
    async with connected(settings) as connection:
        for label, count, fill in (
            ("Users", users, demo_data.add_users(connection, users, password)),
            ("Posts", posts, demo_data.add_posts(connection, posts)),
        ):
            with click.progressbar(length=count, label=label, show_pos=True) as bar:
                async for added in fill:
                    bar.update(added)
