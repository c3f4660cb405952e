"""FastAPI: `uvicorn fastapi_app:app`. The limits of a route and the default limits are one decision; /docs shows the responses 429."""

import os

from fastapi import FastAPI

from limiter.web.fastapi import limit_app, rate_limit

app = FastAPI()
limit_app(app, os.environ.get("REDIS_URL", "redis://localhost"), ["100/minute", "1000/hour"])


@app.get("/items")
async def items() -> list[str]:
    return ["pen", "paper"]


@app.get("/search", dependencies=[rate_limit("10/minute", cost=2)])
async def search(q: str) -> dict[str, str]:
    return {"found": q}
