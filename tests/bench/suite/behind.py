#!/usr/bin/env python3
"""behind.py haproxy|nginx CAP PORT WORKERS: so many Node programs, and a proxy of one thread before them, as people run it today.

It becomes the proxy, so that what is measured as the supervisor is the proxy alone. CAP is how many requests one program may have at a time; 0 for no
cap (nginx has none that queues).
"""

import contextlib
import os
import resource
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from suite.rows import ROOT  # noqa: E402

# Where tests/wire/install puts them, with the libraries that they bring.
PEERS = ROOT / "target/wire/peers/root"

HAPROXY = """
global
    nbthread 1
    maxconn 20000
    # It wants two descriptors for each of these, and would rather not start than have fewer.
    no strict-limits
defaults
    mode http
    timeout connect 5s
    timeout client 75s
    timeout server 60s
    timeout queue 30s
    http-reuse always
frontend front
    bind 127.0.0.1:{port} backlog 4096
    default_backend workers
    # What ours says of the client too, and what people behind either read.
    option forwardfor
    http-request set-header X-Forwarded-Proto http
    http-request set-header Forwarded for=%[src]
backend workers
    balance leastconn
{servers}
"""

NGINX = """
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
worker_processes 1;
worker_rlimit_nofile 40000;
daemon off;
master_process off;
events {{ worker_connections 20000; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    keepalive_requests 100000;
    upstream workers {{ least_conn; keepalive 64; keepalive_requests 100000;
{servers}
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{ proxy_pass http://workers; proxy_http_version 1.1; proxy_set_header Connection "";
            # What ours says of the client too, and what people behind either read.
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header Forwarded "for=$remote_addr"; }}
    }}
}}
"""


def main():
    kind, cap, port, count = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    folder = Path(tempfile.mkdtemp(prefix="bench-proxy-"))
    with contextlib.ExitStack() as held:
        # All are held while they are drawn, the front's as well: of 64 two would often be the same.
        front = held.enter_context(socket.socket())
        front.bind(("127.0.0.1", int(port)))
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        ports = [probe.getsockname()[1] for probe in probes]
    for own in ports:
        subprocess.Popen(["node", "app.js"], env=os.environ | {"PORT": str(own)}, stdin=subprocess.DEVNULL)
    if kind == "haproxy":
        limit = f" maxconn {cap}" if cap else ""
        servers = "\n".join(f"    server w{own} 127.0.0.1:{own}{limit}" for own in ports)
        text, words = HAPROXY.format(port=port, servers=servers), ["haproxy", "-db", "-f"]
    else:
        servers = "\n".join(f"        server 127.0.0.1:{own} max_fails=0;" for own in ports)
        text, words = NGINX.format(port=port, servers=servers, folder=folder), ["nginx", "-p", str(folder), "-e", str(folder / "nginx.log"), "-c"]
    config = folder / "config"
    config.write_text(text, encoding="utf-8")
    libraries = [str(folder) for folder in (PEERS / "usr/lib/x86_64-linux-gnu", PEERS / "lib/x86_64-linux-gnu") if folder.exists()]
    program = str(PEERS / "usr/sbin" / words[0])
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.execve(program, [*words, str(config)], os.environ | {"LD_LIBRARY_PATH": ":".join(libraries)})


if __name__ == "__main__":
    main()
