"""Looks at a deployment and finds what is well, what is not and what to do: `service doctor`."""
