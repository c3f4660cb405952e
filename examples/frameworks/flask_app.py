"""Flask: `flask --app flask_app run`, or `gunicorn flask_app:app`. The limits of a view and the default limits are one decision."""

import os

from flask import Flask, request

from limiter.web.flask import limit_app, rate_limit

app = Flask(__name__)
limit_app(app, os.environ.get("REDIS_URL", "redis://localhost"), ["100/minute", "1000/hour"])


@app.get("/items")
def items() -> list[str]:
    return ["pen", "paper"]


@app.get("/search")
@rate_limit("10/minute", cost=2)
def search() -> dict[str, str]:
    return {"found": request.args["q"]}
