"""The routes of the HTTP API, by subject: each calls one use case, and says so by its signature."""
