"""Idempotency-Key for FastAPI: key, effect and answer are one transaction of PostgreSQL."""

from .answer import HEADERS
from .idempotency import Idempotency

__all__ = ["HEADERS", "Idempotency"]
