"""The demo's database: keeps its rows in a file of its own and answers one JSON line for each line it is sent.

{"put": {"name": "ada"}}  ->  {"pod": ..., "node": ..., "rows": 1}
{"count": true}           ->  {"pod": ..., "node": ..., "rows": 1}
"""

import json
import os
import signal
import socketserver
import sqlite3
import threading
from pathlib import Path

ROWS = Path(os.environ["DATA_DIR"]) / f"{os.environ['NODE_NAME']}.sqlite"
ME = {"pod": os.environ["POD_NAME"], "node": os.environ["NODE_NAME"]}


class Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        rows = sqlite3.connect(ROWS)
        rows.execute("create table if not exists row (value text not null)")
        for line in self.rfile:
            request = json.loads(line)
            if "put" in request:
                with rows:
                    rows.execute("insert into row values (?)", (json.dumps(request["put"]),))
            (count,) = rows.execute("select count(*) from row").fetchone()
            self.wfile.write(json.dumps({**ME, "rows": count}).encode() + b"\n")
        rows.close()


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def main() -> None:
    ROWS.parent.mkdir(parents=True, exist_ok=True)
    with Server((os.environ["POD_IP"], 5432), Handler) as server:
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
        print("listening on", *server.server_address, "with rows in", ROWS.name, flush=True)
        server.serve_forever()
    print("closed", flush=True)


if __name__ == "__main__":
    main()
