"""A registry that lies: it names the right digest of an image, and gives out something else under it.

`Liar` puts it on a lab host, in front of the lab's own registry; run there, this file is the registry itself.
"""

import datetime
import http.server
import shutil
import ssl
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

PORT = 5001


class Handler(http.server.BaseHTTPRequestHandler):
    """Passes requests on to the registry behind; what it gives out as a manifest of `timelock/ray` has a byte more."""

    protocol_version = "HTTP/1.1"
    behind = ""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        wanted = {"Accept": ", ".join(self.headers.get_all("Accept", ["*/*"]))}
        request = urllib.request.Request(self.behind + self.path, headers=wanted, method=self.command)
        trust = ssl.create_default_context(cafile="ca.crt")
        with urllib.request.urlopen(request, context=trust, timeout=30) as answer:
            false = self.command == "GET" and "/timelock/ray/manifests/" in self.path
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                if name in ("Content-Type", "Content-Length", "Docker-Content-Digest"):
                    self.send_header(name, str(int(value) + 1) if false and name == "Content-Length" else value)
            self.end_headers()
            shutil.copyfileobj(answer, self.wfile)
            if false:
                self.wfile.write(b"\n")


class Liar:
    """The registry on a lab host, which `run`s commands there."""

    def __init__(self, place: Path, address: str, behind: str, run: Callable[[str], str]) -> None:
        self.authority = f"{address}:{PORT}"
        self._behind, self._run = behind, run
        self._certify(place, address)

    def start(self) -> None:
        source = Path(__file__).read_text()
        files = {"liar.py": source, **{name: path.read_text() for name, path in self._files.items()}}
        for name, content in files.items():
            self._run(f"mkdir -p /root/liar && cat >/root/liar/{name} <<'END-OF-FILE'\n{content}\nEND-OF-FILE")
        start = "systemd-run --quiet --unit liar --working-directory /root/liar python3 liar.py"
        self._run(f"{start} https://{self._behind} && until ss -Hltn | grep -q :{PORT}; do sleep 0.1; done")

    def stop(self) -> None:
        self._run("systemctl stop liar; rm -rf /root/liar")

    def _certify(self, place: Path, address: str) -> None:
        from provision.lab import ca

        own = ca.Pair(certificate=place / "liar.crt", key=place / "liar.key")
        issuer = ca.Pair(certificate=place / "ca" / "ca.crt", key=place / "ca" / "private" / "ca.key")
        ca.server(issuer, own, addresses=(address,), now=datetime.datetime.now(datetime.UTC))
        self._files = {"ca.crt": issuer.certificate, "server.crt": own.certificate, "server.key": own.key}


def main(behind: str) -> None:
    Handler.behind = behind
    server = http.server.ThreadingHTTPServer(("0.0.0.0", PORT), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain("server.crt", "server.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1])
