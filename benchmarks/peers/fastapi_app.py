"""The same routes on FastAPI, as its documentation and SQLAlchemy's write them."""

import os
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Annotated

import jwt
from fastapi import Depends, FastAPI, HTTPException, Query
from fastapi.concurrency import run_in_threadpool
from fastapi.security import OAuth2PasswordBearer
from pwdlib import PasswordHash
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import DateTime, ForeignKey, func, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, joinedload, mapped_column, relationship

SECRET = os.environ["JWT_SECRET_KEY"]
ACCESS, REFRESH = timedelta(days=1), timedelta(days=30)

engine = create_async_engine(
    os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://"),
    pool_size=20,
    max_overflow=0,
)
sessions = async_sessionmaker(engine, expire_on_commit=False)
passwords = PasswordHash.recommended()
bearer = OAuth2PasswordBearer(tokenUrl="/auth/login")
app = FastAPI()


def now() -> datetime:
    return datetime.now(UTC)


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    email: Mapped[str] = mapped_column(unique=True)
    username: Mapped[str] = mapped_column(unique=True)
    password_hash: Mapped[str]
    is_active: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=now)


class Post(Base):
    __tablename__ = "posts"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    title: Mapped[str]
    content: Mapped[str]
    author_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=now)
    author: Mapped[User] = relationship()

    @property
    def author_name(self) -> str:
        return self.author.username


class Registration(BaseModel):
    email: str = Field(max_length=254, pattern=r"^[^@\s]+@[^@\s]+$")
    username: str = Field(min_length=3, max_length=80)
    password: str = Field(min_length=8, max_length=128)


class Credentials(BaseModel):
    email: str
    password: str


class NewPost(BaseModel):
    title: str = Field(min_length=1, max_length=200)
    content: str = Field(min_length=1, max_length=100_000)


class UserOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    id: uuid.UUID
    email: str
    username: str
    is_active: bool
    created_at: datetime


class PostOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    id: uuid.UUID
    title: str
    content: str
    author: str = Field(validation_alias="author_name")
    created_at: datetime


class PostPage(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    posts: list[PostOut]
    total: int
    pages: int
    current_page: int


class TokenPair(BaseModel):
    access_token: str
    refresh_token: str


class LoginAnswer(TokenPair):
    user: UserOut


async def get_session() -> AsyncIterator[AsyncSession]:
    async with sessions() as session:
        yield session


Database = Annotated[AsyncSession, Depends(get_session)]


def issue_token(user: User, kind: str, life: timedelta) -> str:
    claims = {"sub": str(user.id), "jti": uuid.uuid4().hex, "type": kind, "exp": now() + life}
    return jwt.encode(claims, SECRET, algorithm="HS256")


async def find_user(token: str, kind: str, session: AsyncSession) -> User:
    try:
        claims = jwt.decode(token, SECRET, algorithms=["HS256"])
    except jwt.InvalidTokenError as error:
        raise HTTPException(401, headers={"WWW-Authenticate": "Bearer"}) from error
    user = await session.get(User, uuid.UUID(claims["sub"]))
    if user is None or claims["type"] != kind:
        raise HTTPException(401, headers={"WWW-Authenticate": "Bearer"})
    return user


async def get_user(token: Annotated[str, Depends(bearer)], session: Database) -> User:
    return await find_user(token, "access", session)


async def get_refreshing_user(token: Annotated[str, Depends(bearer)], session: Database) -> User:
    return await find_user(token, "refresh", session)


def issue_tokens(user: User) -> dict[str, str]:
    return {
        "access_token": issue_token(user, "access", ACCESS),
        "refresh_token": issue_token(user, "refresh", REFRESH),
    }


CurrentUser = Annotated[User, Depends(get_user)]


@app.post("/auth/register", status_code=201, response_model=UserOut)
async def register(data: Registration, session: Database) -> User:
    password_hash = await run_in_threadpool(passwords.hash, data.password)
    user = User(email=data.email, username=data.username, password_hash=password_hash)
    session.add(user)
    await session.commit()
    return user


@app.post("/auth/login", response_model=LoginAnswer)
async def login(data: Credentials, session: Database) -> dict[str, object]:
    user = await session.scalar(select(User).where(User.email == data.email))
    if user is None:
        raise HTTPException(401, "Invalid credentials")
    if not await run_in_threadpool(passwords.verify, data.password, user.password_hash):
        raise HTTPException(401, "Invalid credentials")
    return {**issue_tokens(user), "user": user}


@app.post("/auth/refresh", response_model=TokenPair)
async def refresh(user: Annotated[User, Depends(get_refreshing_user)]) -> dict[str, str]:
    return issue_tokens(user)


@app.get("/auth/me", response_model=UserOut)
async def me(user: CurrentUser) -> User:
    return user


@app.get("/api/posts", response_model=PostPage)
async def list_posts(
    session: Database,
    page: Annotated[int, Query(ge=1)] = 1,
    per_page: Annotated[int, Query(ge=1, le=100)] = 20,
) -> dict[str, object]:
    total = await session.scalar(select(func.count()).select_from(Post)) or 0
    newest = select(Post).options(joinedload(Post.author, innerjoin=True))
    newest = newest.order_by(Post.created_at.desc(), Post.id.desc())
    posts = (await session.scalars(newest.offset((page - 1) * per_page).limit(per_page))).all()
    return {"posts": posts, "total": total, "pages": -(-total // per_page), "current_page": page}


@app.post("/api/posts", status_code=201, response_model=PostOut)
async def create_post(data: NewPost, user: CurrentUser, session: Database) -> Post:
    post = Post(title=data.title, content=data.content, author=user)
    session.add(post)
    await session.commit()
    return post


@app.get("/api/posts/{post_id}", response_model=PostOut)
async def get_post(post_id: uuid.UUID, session: Database) -> Post:
    post = await session.get(Post, post_id, options=[joinedload(Post.author, innerjoin=True)])
    if post is None:
        raise HTTPException(404, "Post not found")
    return post


@app.put("/api/posts/{post_id}", response_model=PostOut)
async def replace_post(
    post_id: uuid.UUID, data: NewPost, user: CurrentUser, session: Database
) -> Post:
    post = await get_post(post_id, session)
    if post.author_id != user.id:
        raise HTTPException(403, "Not the author")
    post.title, post.content = data.title, data.content
    await session.commit()
    return post
