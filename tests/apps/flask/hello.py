"""A page by Flask; it says which version it is."""

from flask import Flask, request

app = Flask(__name__)


@app.get("/")
def hello():
    return "Hello from Flask, version one\n", {"Content-Type": "text/plain"}


@app.get("/headers")
def headers():
    return dict(request.headers)
