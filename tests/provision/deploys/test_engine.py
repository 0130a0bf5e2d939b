"""The engine's configuration."""

import json

from provision.deploys.engine import Engine
from provision.deploys.item import Item
from provision.deploys.items.files import File
from provision.deploys.items.units import Unit
from provision.deploys.role import parse
from tests.provision.deploys.roles import ROLES


def items(**changes: object) -> dict[str, Item]:
    return {item.label: item for item in parse("engine", {**ROLES["engine"], **changes}).items()}


def test_the_engine_shares_nothing_with_the_hosts_own() -> None:
    config = items()["file /etc/timelock/engines/demo.json"]
    assert isinstance(config, File)
    settings = json.loads(config.content)
    assert settings["data-root"] == "/srv/timelock/demo"
    assert settings["exec-root"] == "/run/timelock/demo"
    assert settings["hosts"] == ["unix:///run/timelock/demo.sock"]
    assert settings["userns-remap"] == "tl-demo"
    assert settings["bridge"] == "none"
    assert not any(settings[key] for key in ("iptables", "ip6tables", "ip-forward", "ip-masq", "userland-proxy"))
    assert settings["no-new-privileges"]


def test_the_unit_follows_the_configuration() -> None:
    unit = items()["unit timelock-docker@demo.service"]
    assert isinstance(unit, Unit)
    assert unit.follows == ("file /etc/timelock/engines/demo.json",)
    assert "--config-file /etc/timelock/engines/demo.json" in unit.content


def test_the_registrys_authority_is_shared_and_gives_back_what_was_there() -> None:
    authority = items()["file /etc/docker/certs.d/192.0.2.1:5000/ca.crt"]
    assert isinstance(authority, File)
    assert authority.foreign
    assert authority.shared == "registry 192.0.2.1:5000"
    assert not any("certs.d" in label for label in items(registry=None))


def test_outputs_name_socket_and_data_root() -> None:
    role = parse("engine", ROLES["engine"])
    assert isinstance(role, Engine)
    assert role.outputs({}) == {"socket": "/run/timelock/demo.sock", "data_root": "/srv/timelock/demo"}
