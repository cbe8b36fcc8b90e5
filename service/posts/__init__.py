"""Posts: writing, reading, listing."""
