"""HTTP layer: middleware, access control, problem documents, caching, metrics."""
