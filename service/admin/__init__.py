"""What operators see and do, under /admin."""
