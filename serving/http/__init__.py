"""HTTP: uvicorn's worker and parser with the limits that they lack, and the bridge from ASGI to Flask."""
