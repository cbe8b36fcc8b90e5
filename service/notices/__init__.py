"""Mails that inform an account's owner of what happened to the account."""
