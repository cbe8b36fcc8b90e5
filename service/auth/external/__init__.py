"""Sign-in through external providers: OpenID Connect, and GitHub by OAuth 2."""
