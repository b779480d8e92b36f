"""A page by Python's standard library alone; it says which version it is."""

import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Page(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = f"Hello from {os.environ.get('DYNO', 'nowhere')}, version one\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, text, *values):
        print(text % values, flush=True)


port = int(os.environ["PORT"])
server = ThreadingHTTPServer(("0.0.0.0", port), Page)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print(f"listening on {port}", flush=True)
server.serve_forever()
