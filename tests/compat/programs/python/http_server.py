# http.server on the inherited listening socket.
import http.server, json, os, signal, socket, threading


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"pid": os.getpid()}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"begun\n")
        self.rfile.read(int(self.headers["Content-Length"]))
        self.wfile.write(b"ended %d" % os.getpid())

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("", 0), Handler, bind_and_activate=False)
server.daemon_threads = False  # what is in flight is finished
server.socket.close()
server.socket = socket.socket(fileno=3)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever()
server.server_close()
