# Plain sockets: a thread for each connection, on the inherited listening socket.
import json, os, signal, socket, threading

running = threading.Event()
running.set()
server = socket.socket(fileno=3)
server.settimeout(0.2)  # to look at `running`
signal.signal(signal.SIGTERM, lambda *_: running.clear())


def serve(connection):
    with connection, connection.makefile("rb") as lines:
        request = lines.readline()
        while lines.readline() not in (b"\r\n", b""):
            pass
        head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
        if b"/held" in request:
            connection.sendall(head + b"begun\n")
            lines.read(128 * 1024)
            connection.sendall(b"ended %d" % os.getpid())
        else:
            connection.sendall(head + json.dumps({"pid": os.getpid()}).encode())


threads = []
while running.is_set():
    try:
        connection, _ = server.accept()
    except (TimeoutError, BlockingIOError):
        continue
    connection.setblocking(True)
    threads = [thread for thread in threads if thread.is_alive()] + [threading.Thread(target=serve, args=(connection,))]
    threads[-1].start()
for thread in threads:
    thread.join()
