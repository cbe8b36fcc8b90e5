-- Keys follow in indexes.sql, when the rows are there.
CREATE TABLE users (
    id uuid NOT NULL,
    email varchar(254) NOT NULL,
    username varchar(80) NOT NULL,
    password_hash varchar(256) NOT NULL,
    is_active boolean NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE TABLE posts (
    id uuid NOT NULL,
    title varchar(200) NOT NULL,
    content text NOT NULL,
    author_id uuid NOT NULL,
    created_at timestamptz NOT NULL
);
