"""The decision API: `POST /v1/take`, `/v1/peek` and `/v1/refund`."""
