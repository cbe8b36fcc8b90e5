"""A round trip with the client that openapi-python-client makes of the document.

The Python of `.venv-clients` runs it with the made package on its path; the argument is where
the service is. The client raises on any status that is not documented.
"""

import sys
from typing import Any

import httpx
from service_client import AuthenticatedClient, Client
from service_client.api.accounts import read_me, register
from service_client.api.auth import list_sessions, login, logout, refresh
from service_client.api.posts import (
    change_post,
    create_post,
    delete_post,
    list_posts,
    read_post,
    restore_post,
)
from service_client.models import (
    Credentials,
    Error,
    LoginOut,
    NewPost,
    PostChange,
    PostOut,
    PostPage,
    Registration,
    SessionsOut,
    TokensOut,
    UserOut,
)

EMAIL = "ada@example.com"
PASSWORD = "correct horse battery staple"
# Against hanging only: hashing a password takes seconds on a loaded machine.
TIMEOUT = httpx.Timeout(30)


def parsed(answer: Any, status: int, kind: type) -> Any:
    """What an answer holds; it must have the status, and be of the documented type."""
    assert answer.status_code == status, (answer.status_code, answer.content)
    assert type(answer.parsed) is kind, answer.parsed
    return answer.parsed


def failed(answer: Any, status: int) -> Any:
    """The documented error; it must be of the status."""
    error = parsed(answer, status, Error)
    assert error.code == status
    assert error.request_id == answer.headers["X-Request-ID"]
    return error


def signed_in(address: str, token: str) -> Any:
    """A client that shows the token."""
    return AuthenticatedClient(
        base_url=address, token=token, raise_on_unexpected_status=True, timeout=TIMEOUT
    )


def sign_up(address: str, anyone: Any) -> Any:
    """Register and log in; the tokens."""
    registration = Registration(email=EMAIL, password=PASSWORD)
    user = parsed(register.sync_detailed(client=anyone, body=registration), 201, UserOut)
    taken = failed(register.sync_detailed(client=anyone, body=registration), 409)
    assert "email" in taken.message.lower()
    wrong = Credentials(email=EMAIL, password=PASSWORD[1:])
    assert failed(login.sync_detailed(client=anyone, body=wrong), 401).message
    right = Credentials(email=EMAIL, password=PASSWORD)
    tokens = parsed(login.sync_detailed(client=anyone, body=right), 200, LoginOut)
    assert tokens.user == user
    me = signed_in(address, tokens.access_token)
    assert parsed(read_me.sync_detailed(client=me), 200, UserOut) == user
    return tokens


def write(anyone: Any, me: Any) -> Any:
    """Create a post, read it and change it; the changed post."""
    new = NewPost(title="First", content="Hello, world.")
    made = create_post.sync_detailed(client=me, body=new)
    post = parsed(made, 201, PostOut)
    assert made.headers["Location"].endswith(f"/api/posts/{post.id}")
    assert (post.title, post.author, post.version) == ("First", "ada", 1)
    assert parsed(read_post.sync_detailed(post.id, client=anyone), 200, PostOut) == post
    tag = made.headers["ETag"]
    held = read_post.sync_detailed(post.id, client=anyone, if_none_match=tag)
    assert (held.status_code, held.content) == (304, b"")

    change = PostChange(title="Changed")
    answer = change_post.sync_detailed(post.id, client=me, body=change, if_match=tag)
    changed = parsed(answer, 200, PostOut)
    assert (changed.title, changed.content, changed.version) == ("Changed", post.content, 2)
    failed(change_post.sync_detailed(post.id, client=me, body=change, if_match=tag), 412)
    return changed


def be_refused(anyone: Any, me: Any) -> None:
    """Send what is invalid, and show no token."""
    invalid = failed(create_post.sync_detailed(client=me, body=NewPost(title=" ", content="")), 400)
    assert set(invalid.errors.additional_properties) == {"title", "content"}
    failed(create_post.sync_detailed(client=anyone, body=NewPost(title="a", content="b")), 401)


def read_on(anyone: Any, me: Any, older: Any) -> None:
    """List the posts, a page and then by cursor."""
    made = create_post.sync_detailed(client=me, body=NewPost(title="Second", content="More."))
    newer = parsed(made, 201, PostOut)
    page = parsed(list_posts.sync_detailed(client=anyone, per_page=1), 200, PostPage)
    assert (page.posts, page.total, page.pages, page.current_page) == ([newer], 2, 2, 1)
    answer = list_posts.sync_detailed(client=anyone, per_page=1, cursor=page.next_cursor)
    rest = parsed(answer, 200, PostPage)
    assert (rest.posts, rest.next_cursor) == ([older], None)


def delete_and_restore(anyone: Any, me: Any, post: Any) -> None:
    """Delete a post, and have it back."""
    tag = read_post.sync_detailed(post.id, client=anyone).headers["ETag"]
    gone = delete_post.sync_detailed(post.id, client=me, if_match=tag)
    assert (gone.status_code, gone.content) == (204, b"")
    missing = failed(read_post.sync_detailed(post.id, client=anyone), 404)
    assert (missing.error, missing.message) == ("Not Found", "Post not found")
    restored = parsed(restore_post.sync_detailed(post.id, client=me), 200, PostOut)
    assert (restored.id, restored.title) == (post.id, post.title)
    assert parsed(read_post.sync_detailed(post.id, client=anyone), 200, PostOut) == restored


def refresh_and_leave(address: str, tokens: Any) -> None:
    """Exchange the refresh token, and end the session."""
    holder = signed_in(address, tokens.refresh_token)
    fresh = parsed(refresh.sync_detailed(client=holder), 200, TokensOut)
    assert fresh.refresh_token != tokens.refresh_token
    me = signed_in(address, fresh.access_token)
    open_ones = parsed(list_sessions.sync_detailed(client=me), 200, SessionsOut)
    assert [session.current for session in open_ones.sessions] == [True]
    assert logout.sync_detailed(client=me).status_code == 204
    failed(read_me.sync_detailed(client=me), 401)


def main(address: str) -> None:
    """Go there and back."""
    anyone = Client(base_url=address, raise_on_unexpected_status=True, timeout=TIMEOUT)
    tokens = sign_up(address, anyone)
    me = signed_in(address, tokens.access_token)
    post = write(anyone, me)
    be_refused(anyone, me)
    read_on(anyone, me, post)
    delete_and_restore(anyone, me, post)
    refresh_and_leave(address, tokens)


if __name__ == "__main__":
    main(sys.argv[1])
