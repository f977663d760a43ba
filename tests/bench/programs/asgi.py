"""The program of the ASGI sides: uvicorn under the primary, uvicorn's own workers, gunicorn with uvicorn's worker, granian."""

import os

BODY = b"hello world\n"
HEADERS = [(b"content-type", b"text/plain"), (b"content-length", b"12"), (b"x-worker", str(os.getpid()).encode())]


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY})


async def lifespan(receive, send):
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            # Who serves, one line each, as in app.js.
            with open(os.environ["ROSTER"], "a", encoding="ascii") as roster:
                roster.write(f"{os.getpid()}\n")
            await send({"type": "lifespan.startup.complete"})
        else:
            await send({"type": "lifespan.shutdown.complete"})
            return
