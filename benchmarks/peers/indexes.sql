CREATE INDEX posts_created_at_id ON posts (created_at, id);
CREATE INDEX posts_author_id ON posts (author_id);
