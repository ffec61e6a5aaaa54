"""The demo's web app: each request writes a row through the Service `database`, and answers with who served it."""

import http.server
import json
import os
import signal
import socket
import threading

DATABASE = (os.environ["DATABASE_SERVICE_HOST"], int(os.environ["DATABASE_SERVICE_PORT"]))
ME = {"pod": os.environ["POD_NAME"], "node": os.environ["NODE_NAME"]}


def ask_database(request: dict[str, object]) -> dict[str, object]:
    with socket.create_connection(DATABASE, timeout=2) as connection:
        connection.sendall(json.dumps(request).encode() + b"\n")
        answer = connection.makefile().readline()
    if not answer:
        raise ConnectionError("the database closed the connection without an answer")
    return dict(json.loads(answer))


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        try:
            code, answer = 200, {"web": ME, "database": ask_database({"put": {"path": self.path}})}
        except OSError as error:
            code, answer = 503, {"web": ME, "error": str(error)}
        body = json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        print(format % args, flush=True)


def main() -> None:
    server = http.server.ThreadingHTTPServer((os.environ["POD_IP"], 8080), Handler)
    server.daemon_threads = True
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print("listening on", *server.server_address, flush=True)
    server.serve_forever()
    server.server_close()


if __name__ == "__main__":
    main()
