ALTER TABLE users ADD PRIMARY KEY (id), ADD UNIQUE (email), ADD UNIQUE (username);
ALTER TABLE posts ADD PRIMARY KEY (id), ADD FOREIGN KEY (author_id) REFERENCES users;
CREATE INDEX posts_created_at_id ON posts (created_at, id);
CREATE INDEX posts_author_id ON posts (author_id);
