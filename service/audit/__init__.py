"""Security events: who did what to which account, when and from where."""
