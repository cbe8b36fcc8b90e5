"""The routes of operators, under /admin."""
