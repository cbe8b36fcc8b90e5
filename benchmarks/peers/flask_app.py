"""The Flask service that this one replaces, as its extensions' documentation writes it."""

import os
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import Flask, Response, abort, jsonify, request
from flask_jwt_extended import (
    JWTManager,
    create_access_token,
    create_refresh_token,
    current_user,
    jwt_required,
)
from flask_sqlalchemy import SQLAlchemy
from marshmallow import Schema, fields, validate
from sqlalchemy import DateTime, ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from werkzeug.security import check_password_hash, generate_password_hash


class Base(DeclarativeBase):
    pass


db = SQLAlchemy(model_class=Base)
jwt = JWTManager()


def now() -> datetime:
    return datetime.now(UTC)


class User(db.Model):  # type: ignore[name-defined, misc]
    __tablename__ = "users"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    email: Mapped[str] = mapped_column(unique=True)
    username: Mapped[str] = mapped_column(unique=True)
    password_hash: Mapped[str]
    is_active: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=now)


class Post(db.Model):  # type: ignore[name-defined, misc]
    __tablename__ = "posts"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    title: Mapped[str]
    content: Mapped[str]
    author_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=now)
    author: Mapped[User] = relationship(lazy="joined", innerjoin=True)


class UserSchema(Schema):
    id = fields.UUID(dump_only=True)
    email = fields.Email(required=True)
    username = fields.String(required=True, validate=validate.Length(3, 80))
    password = fields.String(required=True, load_only=True, validate=validate.Length(8, 128))
    is_active = fields.Boolean(dump_only=True)
    created_at = fields.DateTime(dump_only=True)


class LoginSchema(Schema):
    email = fields.Email(required=True)
    password = fields.String(required=True)


class PostSchema(Schema):
    id = fields.UUID(dump_only=True)
    title = fields.String(required=True, validate=validate.Length(1, 200))
    content = fields.String(required=True, validate=validate.Length(1, 100_000))
    author = fields.Pluck(UserSchema, "username", dump_only=True)
    created_at = fields.DateTime(dump_only=True)


user_schema = UserSchema()
login_schema = LoginSchema()
post_schema = PostSchema()
posts_schema = PostSchema(many=True)


@jwt.user_lookup_loader
def load_user(_header: dict[str, Any], claims: dict[str, Any]) -> User | None:
    return db.session.get(User, uuid.UUID(claims["sub"]))


def register() -> tuple[Response, int]:
    values = user_schema.load(request.get_json())
    password = values.pop("password")
    user = User(**values, password_hash=generate_password_hash(password))
    db.session.add(user)
    db.session.commit()
    return jsonify(user_schema.dump(user)), 201


def login() -> Response:
    values = login_schema.load(request.get_json())
    user = db.session.scalar(db.select(User).filter_by(email=values["email"]))
    if user is None or not check_password_hash(user.password_hash, values["password"]):
        abort(401)
    return jsonify(
        access_token=create_access_token(identity=str(user.id)),
        refresh_token=create_refresh_token(identity=str(user.id)),
        user=user_schema.dump(user),
    )


@jwt_required(refresh=True)  # type: ignore[untyped-decorator]
def refresh() -> Response:
    return jsonify(
        access_token=create_access_token(identity=str(current_user.id)),
        refresh_token=create_refresh_token(identity=str(current_user.id)),
    )


@jwt_required()  # type: ignore[untyped-decorator]
def me() -> Response:
    return jsonify(user_schema.dump(current_user))


def list_posts() -> Response:
    newest = db.select(Post).order_by(Post.created_at.desc(), Post.id.desc())
    page = db.paginate(newest, max_per_page=100, error_out=False)
    return jsonify(
        posts=posts_schema.dump(page.items),
        total=page.total,
        pages=page.pages,
        current_page=page.page,
    )


@jwt_required()  # type: ignore[untyped-decorator]
def create_post() -> tuple[Response, int]:
    post = Post(**post_schema.load(request.get_json()), author=current_user)
    db.session.add(post)
    db.session.commit()
    return jsonify(post_schema.dump(post)), 201


def get_post(post_id: uuid.UUID) -> Response:
    return jsonify(post_schema.dump(db.get_or_404(Post, post_id)))


@jwt_required()  # type: ignore[untyped-decorator]
def replace_post(post_id: uuid.UUID) -> Response:
    post = db.get_or_404(Post, post_id)
    if post.author_id != current_user.id:
        abort(403)
    values = post_schema.load(request.get_json())
    post.title, post.content = values["title"], values["content"]
    db.session.commit()
    return jsonify(post_schema.dump(post))


def create_app() -> Flask:
    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["DATABASE_URL"].replace(
        "postgresql://", "postgresql+psycopg2://"
    )
    app.config["JWT_SECRET_KEY"] = os.environ["JWT_SECRET_KEY"]
    app.config["JWT_ACCESS_TOKEN_EXPIRES"] = timedelta(days=1)
    db.init_app(app)
    jwt.init_app(app)
    app.post("/auth/register")(register)
    app.post("/auth/login")(login)
    app.post("/auth/refresh")(refresh)
    app.get("/auth/me")(me)
    app.get("/api/posts")(list_posts)
    app.post("/api/posts")(create_post)
    app.get("/api/posts/<uuid:post_id>")(get_post)
    app.put("/api/posts/<uuid:post_id>")(replace_post)
    return app
