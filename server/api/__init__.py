"""The ASGI application: middleware, uploads, routes, SSE, OpenAPI, Open Inference Protocol."""
