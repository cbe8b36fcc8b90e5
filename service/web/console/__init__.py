"""The operators' console: a page that calls the routes under /admin."""
