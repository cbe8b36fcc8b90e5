"""The Flask service's tables, as Flask-SQLAlchemy makes and fills them."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import insert
from werkzeug.security import generate_password_hash

PASSWORD = "hunter2"  # shorter than today's rules allow
# Werkzeug's methods with the least work they can do.
QUICK_HASHES = {
    "scrypt": generate_password_hash(PASSWORD, "scrypt:1024:8:1"),
    "pbkdf2": generate_password_hash(PASSWORD, "pbkdf2:sha256:1"),
}
BEGINNING = datetime(2019, 3, 1, 12, 0, 0, 123456)  # noqa: DTZ001 - naive, as it was stored
SPACE = UUID("6ba7b812-9dad-11d1-80b4-00c04fd430c8")

db = SQLAlchemy()


class User(db.Model):  # type: ignore[name-defined,misc]
    __tablename__ = "users"

    id = db.Column(db.String(36), primary_key=True)
    email = db.Column(db.String(120), unique=True, nullable=False)
    username = db.Column(db.String(80), unique=True, nullable=False)
    password_hash = db.Column(db.String(255), nullable=False)
    is_active = db.Column(db.Boolean, default=True)
    is_admin = db.Column(db.Boolean, default=False)
    created_at = db.Column(db.DateTime)
    updated_at = db.Column(db.DateTime)


class Post(db.Model):  # type: ignore[name-defined,misc]
    __tablename__ = "posts"

    id = db.Column(db.String(36), primary_key=True)
    title = db.Column(db.String(200), nullable=False)
    content = db.Column(db.Text, nullable=False)
    # No foreign key: SQLite does not hold anyone to it.
    user_id = db.Column(db.String(36))
    created_at = db.Column(db.DateTime)
    updated_at = db.Column(db.DateTime)


def an_id(kind: str, number: int) -> str:
    """The id of a row, the same in every test."""
    return str(uuid5(SPACE, f"{kind} {number}"))


def user(number: int, **values: Any) -> dict[str, Any]:
    """A user's row."""
    moment = BEGINNING + timedelta(minutes=number)
    return {
        "id": an_id("user", number),
        "email": f"User{number}@Example.com",
        "username": f"user {number}",  # today's rules allow no blanks
        "password_hash": QUICK_HASHES["scrypt"],
        "is_active": True,
        "is_admin": False,
        "created_at": moment,
        "updated_at": moment + timedelta(days=1),
        **values,
    }


def post(number: int, author: int, **values: Any) -> dict[str, Any]:
    """A post's row."""
    moment = BEGINNING + timedelta(days=30, seconds=number)
    return {
        "id": an_id("post", number),
        "title": f"Title {number}",
        "content": f"Content of post {number}: größer, 漢字, 🙂.\r\n" * 8,
        "user_id": an_id("user", author),
        "created_at": moment,
        "updated_at": moment + timedelta(hours=1),
        **values,
    }


@contextmanager
def flask_service(url: str) -> Iterator[Any]:
    """The Flask service's application on a database; yields its session."""
    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    db.init_app(app)
    with app.app_context():
        db.create_all()
        try:
            yield db.session
            db.session.commit()
        finally:
            db.session.remove()
            db.engine.dispose()


def fill(url: str, users: list[dict[str, Any]], posts: list[dict[str, Any]]) -> None:
    """Add rows as the Flask service would."""
    with flask_service(url) as session:
        for model, rows in ((User, users), (Post, posts)):
            if rows:
                session.execute(insert(model), rows, execution_options={"render_nulls": True})
