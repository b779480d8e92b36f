"""A page by gunicorn alone; it says which version it is."""

from itsdangerous import Signer


def app(environ, start_response):
    Signer("key").sign("value")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"Hello from poetry, version one\n"]
