"""The two small pages that mailed links lead to."""
