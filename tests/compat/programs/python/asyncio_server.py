# asyncio on the inherited listening socket.
import asyncio, json, os, signal, socket

open_connections = set()


async def serve(reader, writer):
    open_connections.add(asyncio.current_task())
    request = await reader.readline()
    while await reader.readline() not in (b"\r\n", b""):
        pass
    writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    if b"/held" in request:
        writer.write(b"begun\n")
        await writer.drain()
        await reader.readexactly(128 * 1024)
        writer.write(b"ended %d" % os.getpid())
    else:
        writer.write(json.dumps({"pid": os.getpid()}).encode())
    await writer.drain()
    writer.close()
    open_connections.discard(asyncio.current_task())


async def main():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    server = await asyncio.start_server(serve, sock=socket.socket(fileno=3))
    await stop.wait()
    server.close()
    await asyncio.gather(*open_connections)


asyncio.run(main())
