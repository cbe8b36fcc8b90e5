CREATE TABLE users (
    id uuid PRIMARY KEY,
    email varchar(254) NOT NULL UNIQUE,
    username varchar(80) NOT NULL UNIQUE,
    password_hash varchar(256) NOT NULL,
    is_active boolean NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE TABLE posts (
    id uuid PRIMARY KEY,
    title varchar(200) NOT NULL,
    content text NOT NULL,
    author_id uuid NOT NULL REFERENCES users,
    created_at timestamptz NOT NULL
);
