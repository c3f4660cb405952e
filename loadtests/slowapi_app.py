"""A FastAPI application that slowapi limits as it does by default: by a fixed window.

python loadtests/slowapi_app.py PORT LIMIT
"""

import sys

import uvicorn
from fastapi import FastAPI, Request, Response
from slowapi import Limiter, _rate_limit_exceeded_handler
from slowapi.errors import RateLimitExceeded


def key_of(request: Request) -> str:
    return request.headers["authorization"]


def application(limit: str) -> FastAPI:
    limiter = Limiter(key_func=key_of, headers_enabled=True)
    app = FastAPI()
    app.state.limiter = limiter
    app.add_exception_handler(RateLimitExceeded, _rate_limit_exceeded_handler)  # type: ignore[arg-type]

    @app.get("/items")
    @limiter.limit(limit)
    def items(request: Request, response: Response) -> dict[str, bool]:  # noqa: ARG001 - slowapi requires both
        return {"ok": True}

    return app


if __name__ == "__main__":
    uvicorn.run(application(sys.argv[2]), port=int(sys.argv[1]), log_level="warning", access_log=False)
