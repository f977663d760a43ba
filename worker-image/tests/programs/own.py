# Binds its port itself; with REUSE so that several may. Takes no connection from when it is asked for /refuse, and lives on, as a server does that waits
# for ever for what it has begun.
import http.server, os, socket, sys, time

time.sleep(float(os.environ.get("DELAY", "0")))

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/slow":
            time.sleep(0.02)
        body = b"%d\n" % os.getpid()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        if self.path == "/refuse":
            self.server.socket.close()
            while True:
                time.sleep(1000)
    def log_message(self, *args):
        pass

class Server(http.server.HTTPServer):
    def server_bind(self):
        if "REUSE" in os.environ:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        super().server_bind()

Server(("", int(os.environ["PORT"])), Handler).serve_forever()
