"""Parameters of roles as the stack sends them."""

from collections.abc import Mapping

DIGEST = "sha256:" + "0" * 64
ROLES: Mapping[str, Mapping[str, object]] = {
    "identity": {"booking": "demo", "planes": [0, 1]},
    "baseline": {
        "booking": "demo",
        "user": "tl-demo",
        "subid_start": 1_000_000,
        "packages": ["nftables", "iproute2"],
        "sysctls": {"net.core.somaxconn": "4096"},
    },
    "engine": {
        "booking": "demo",
        "slot": 0,
        "user": "tl-demo",
        "registry": {"address": "192.0.2.1:5000", "ca_pem": "PEM\n"},
        "prefetch": [f"192.0.2.1:5000/timelock/ray@{DIGEST}"],
    },
    "firewall": {
        "booking": "demo",
        "management": ["192.0.2.1/32", "2001:db8::/64"],
        "ssh_port": 22,
        "peers": ["192.0.2.12", "192.0.2.13"],
        "udp_ports": [51820, 51821],
    },
}
