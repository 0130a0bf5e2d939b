from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from provision.errors import InvalidInput
from provision.supply import cache, inventory, limited
from provision.supply.inventory import read_inventory
from provision.supply.model import Gpu, Host, Registry, Supply

ROOT = Path(__file__).parents[3]

HOST = {
    "ansible_host": "192.0.2.1",
    "ansible_ssh_private_key_file": "keys/id",
    "timelock_supplier": "acme",
    "timelock_site": "s1",
    "timelock_price_per_gpu_hour": "2.10 EUR",
    "timelock_cpus": 8,
    "timelock_memory": "64GB",
    "timelock_gpus": [{"uuid": "GPU-a", "index": 0, "model": "H100", "memory": "80GB"}],
}


def write(path: Path, content: object, **others: object) -> Path:
    """Write an inventory, as YAML unless it is text, and files beside it: `group_vars__all` is group_vars/all.yml."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))
    for name, values in others.items():
        write(path.parent / f"{name.replace('__', '/')}.yml", values)
    return path


def of(**hosts: object) -> dict[str, object]:
    return {"all": {"hosts": hosts}}


def problems(path: Path) -> str:
    with pytest.raises(InvalidInput) as refusal:
        read_inventory(path)
    return "\n".join(refusal.value.problems)


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """An inventory script that gives its host one CPU more at each call."""
    listing = {"all": {"hosts": ["a"]}, "_meta": {"hostvars": {"a": HOST}}}
    path = tmp_path / "dynamic.py"
    path.write_text(
        f"#!{sys.executable}\nimport json, pathlib\ncount = pathlib.Path(__file__).with_name('count')\n"
        "number = int(count.read_text()) + 1 if count.exists() else 1\ncount.write_text(str(number))\n"
        f"listing = json.loads({json.dumps(listing)!r})\n"
        "listing['_meta']['hostvars']['a']['timelock_cpus'] = number\nprint(json.dumps(listing))\n"
    )
    path.chmod(0o755)
    return path


def test_every_variable(tmp_path: Path) -> None:
    more = {
        "ansible_port": 2222,
        "ansible_user": "ops",
        "timelock_region": "eu-west",
        "timelock_tier": 3,
        "timelock_soc2_report_date": "2026-01-01",
        "timelock_access_rtt": "0.3ms",
        "timelock_host_key": "ssh-ed25519 " + "A" * 68 + " a comment",
        "timelock_management": ["203.0.113.0/24"],
    }
    shared = {
        "timelock_site_rtt": {"s2": {"s1": "3ms"}, "s1": {"s2": "4ms"}},
        "timelock_registry": "10.77.0.1:5000",
        "timelock_registry_ca_file": "ca.pem",
    }
    path = write(tmp_path / "i.yaml", {"all": {"vars": shared, "hosts": {"a": HOST | more}}})
    found = read_inventory(path)
    assert found == Supply(
        hosts=(
            Host(
                name="a",
                supplier="acme",
                site="s1",
                region="eu-west",
                tier=3,
                soc2_until_ns=1_798_761_600 * 10**9,
                price_micros_per_gpu_hour=2_100_000,
                currency="EUR",
                access_rtt_ns=300_000,
                address="192.0.2.1",
                port=2222,
                user="ops",
                key_file=str(tmp_path / "keys/id"),
                host_key="ssh-ed25519 " + "A" * 68,
                cpus=8,
                memory_bytes=64 * 10**9,
                gpus=(Gpu(uuid="GPU-a", index=0, model="H100", memory_bytes=80 * 10**9, device="/dev/nvidia0"),),
                management=("203.0.113.0/24",),
            ),
        ),
        site_rtt={("s1", "s2"): 4_000_000},
        registry=Registry(address="10.77.0.1:5000", ca_file=str(tmp_path / "ca.pem")),
        digest=found.digest,
    )
    assert all(type(value) is str for value in (found.hosts[0].name, found.hosts[0].site, found.hosts[0].gpus[0].uuid))


def test_what_is_left_out_has_a_default(tmp_path: Path) -> None:
    host = read_inventory(write(tmp_path / "i.yaml", of(a=HOST))).hosts[0]
    assert (host.port, host.user, host.region, host.tier, host.soc2_until_ns) == (22, "root", "", None, None)
    assert (host.access_rtt_ns, host.host_key, host.management) == (100_000, None, ())


def test_the_examples_are_read() -> None:
    ini, folder, flat = (
        read_inventory(ROOT / "inventories" / name) for name in ("example/hosts.ini", "example", "example.yaml")
    )
    assert [host.name for host in ini.hosts] == ["harbour-1", "harbour-2", "harbour-3", "mill-1", "mill-2"]
    assert ini.site_rtt == {
        ("harbour-hamburg", "harbour-hamburg"): 100_000,
        ("harbour-hamburg", "mill-lyon"): 17_400_000,
    }
    assert folder.hosts == ini.hosts
    assert flat.hosts[0].host_key


def test_ini_yaml_and_script_say_the_same(tmp_path: Path, script: Path) -> None:
    gpus = json.dumps(HOST["timelock_gpus"])
    ini = f"""
[acme]
a ansible_host=192.0.2.1 timelock_site=s1 timelock_gpus='{gpus}'
[acme:vars]
ansible_ssh_private_key_file=keys/id
timelock_supplier=acme
timelock_price_per_gpu_hour=2.10 EUR
timelock_cpus=1
timelock_memory=64GB
"""
    from_ini = read_inventory(write(tmp_path / "i.ini", ini))
    from_yaml = read_inventory(write(tmp_path / "i.yaml", of(a=HOST | {"timelock_cpus": 1})))
    assert from_ini == from_yaml == read_inventory(script)


def test_variables_merge_as_ansible_merges_them(tmp_path: Path) -> None:
    """Later wins: group all, its files, parent group, child group, their files, host, the host's file."""
    order = ["all", "all_file", "parent", "child", "parent_file", "child_file", "host", "host_file"]
    wins: dict[str, dict[str, str]] = {name: {} for name in order}
    for last, name in enumerate(order):
        for place in order[: last + 1]:
            wins[place][f"timelock_v{last}"] = place
        assert name in wins
    path = write(
        tmp_path / "i.yaml",
        {
            "all": {
                "vars": wins["all"],
                "children": {
                    "parent": {
                        "vars": wins["parent"],
                        "children": {"child": {"vars": wins["child"], "hosts": {"a": HOST | wins["host"]}}},
                    }
                },
            }
        },
        group_vars__all=wins["all_file"],
        group_vars__parent=wins["parent_file"],
        group_vars__child=wins["child_file"],
        host_vars__a=wins["host_file"],
    )
    text = problems(path)
    for number, name in enumerate(order):
        assert f"timelock_v{number}: unknown variable" in text
        line = next(line for line in text.splitlines() if f"timelock_v{number}:" in line)
        expected = {"all_file": "group_vars/all.yml", "host_file": "host_vars/a.yml"}.get(name, "")
        assert expected in line


def test_templates_are_rendered_with_the_hosts_own_variables(tmp_path: Path) -> None:
    shared = {"keys": "{{ inventory_dir }}/keys", "ansible_ssh_private_key_file": "{{ keys }}/{{ inventory_hostname }}"}
    host = {name: value for name, value in HOST.items() if name != "ansible_ssh_private_key_file"}
    path = write(
        tmp_path / "i.yaml",
        of(a=host, b=host | {"ansible_host": "192.0.2.2", "timelock_gpus": []}),
        group_vars__all=shared,
    )
    assert [one.key_file for one in read_inventory(path).hosts] == [f"{tmp_path}/keys/a", f"{tmp_path}/keys/b"]


def test_hosts_without_gpus_are_no_supply(tmp_path: Path) -> None:
    path = write(tmp_path / "i.yaml", of(a=HOST, bastion={"ansible_host": "192.0.2.9"}))
    assert [host.name for host in read_inventory(path).hosts] == ["a"]


def test_all_problems_come_at_once_with_file_line_host_and_variable(tmp_path: Path) -> None:
    bad = {
        "timelock_gpus": [
            {"uuid": "GPU-b", "index": 0, "model": "H100", "memory": "80 Gb"},
            {"uuid": "GPU-c", "indx": 1, "model": "H100", "memory": "80GB"},
        ],
        "timelock_prise_per_gpu_hour": "2 EUR",
        "timelock_tier": 7,
        "timelock_management": ["10.0.0.1/8"],
        "timelock_host_key": "secret",
        "timelock_soc2_report_date": "spring",
        "ansible_port": 0,
    }
    path = write(tmp_path / "i.yaml", of(b=bad))
    text = problems(path)
    for expected in (
        f"{path}:4: host b: timelock_supplier: expected a name of letters, digits, '.', '_' and '-', found nothing",
        f"{path}:4: host b: timelock_price_per_gpu_hour: expected a price such as 2.10 EUR, found nothing",
        f"{path}:4: host b: timelock_gpus[0].memory: expected a size such as 80GB",
        f"{path}:4: host b: timelock_gpus[1].indx: unknown field; expected one of uuid, index, model, memory, device; "
        "did you mean index?",
        f"{path}:4: host b: timelock_gpus[1].index: expected a whole number from 0 to 63, found nothing",
        f"{path}:13: host b: timelock_prise_per_gpu_hour: unknown variable; did you mean timelock_price_per_gpu_hour?",
        f"{path}:14: host b: timelock_tier: expected a whole number from 1 to 4, found 7",
        "timelock_management: expected networks such as [10.0.0.0/24]",
        "timelock_host_key: expected a public key such as 'ssh-ed25519 AAAA…'",
        "timelock_soc2_report_date: expected the date of a report such as 2030-01-31, found 'spring'",
        "ansible_port: expected a whole number from 1 to 65535, found 0",
        "ansible_ssh_private_key_file: expected the name of a file, found nothing",
    ):
        assert expected in text.replace(":5:", ":4:"), text


def test_a_problem_of_a_group_is_told_once(tmp_path: Path) -> None:
    hosts = {f"h{n}": HOST | {"ansible_host": f"192.0.2.{n}", "timelock_gpus": []} for n in range(1, 6)}
    path = write(tmp_path / "i.yaml", of(**hosts), group_vars__all={"timelock_tier": 9})
    place = tmp_path / "group_vars/all.yml"
    assert (
        problems(path)
        == f"{place}:1: host h1 (and 4 more): timelock_tier: expected a whole number from 1 to 4, found 9"
    )


def test_gpus_and_addresses_belong_to_one_host(tmp_path: Path) -> None:
    text = problems(write(tmp_path / "i.yaml", of(a=HOST, b=HOST)))
    assert "host b: address 192.0.2.1:22: expected on one host only, found on a too" in text
    assert "host b: GPU GPU-a: expected on one host only, found on a too" in text


def test_a_gpu_is_listed_once(tmp_path: Path) -> None:
    gpus = [{"uuid": "x", "index": 0, "model": "H100", "memory": "80GB"}] * 2
    text = problems(write(tmp_path / "i.yaml", of(a=HOST | {"timelock_gpus": gpus})))
    assert "timelock_gpus[].uuid: expected each once, found x, x" in text
    assert "timelock_gpus[].index: expected each once, found 0, 0" in text


def test_what_concerns_all_is_said_in_group_all(tmp_path: Path) -> None:
    path = write(
        tmp_path / "i.yaml", of(a=HOST | {"timelock_registry": "r:1"}), group_vars__all={"timelock_registry": "r:2"}
    )
    assert "host a: timelock_registry: expected in group all only, found here" in problems(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("i.yaml", "all: [\n", ":2: Failed to parse inventory with 'yaml' plugin"),
        ("i.yaml", "all:\n  host:\n    a: {}\n", "Skipping unexpected key (host) in group (all)"),
        ("i.ini", "[acme]\na b c\n", "Expected key=value host variable assignment, got: b"),
        ("i.yaml", "all: {hosts: {a: {}}}", "expected a host with timelock_gpus, found none among 1 hosts"),
    ],
)
def test_what_ansible_cannot_read_is_a_problem(tmp_path: Path, name: str, content: str, message: str) -> None:
    text = problems(write(tmp_path / name, content))
    assert message in text
    assert str(tmp_path / name) in text


def test_a_broken_group_file_is_a_problem(tmp_path: Path) -> None:
    path = write(tmp_path / "i.yaml", of(a=HOST), group_vars__all="a: [")
    assert problems(path).startswith(f"{tmp_path}/group_vars/all.yml:2:")


def test_an_encrypted_value_is_a_problem_that_keeps_its_secret(tmp_path: Path) -> None:
    text = (
        yaml.safe_dump(of(a=HOST))
        + "  vars:\n    timelock_tier: !vault |\n      $ANSIBLE_VAULT;1.1;AES256\n      3132\n"
    )
    assert "timelock_tier: expected text, found EncryptedString" in problems(write(tmp_path / "i.yaml", text))


def test_nothing_is_written_to_the_terminal(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    problems(write(tmp_path / "i.yaml", "all: ["))
    read_inventory(write(tmp_path / "j.yaml", {"odd-name": {"hosts": {"a": HOST}}}))
    assert capfd.readouterr() == ("", "")


def test_an_inventory_that_is_not_there(tmp_path: Path) -> None:
    assert problems(tmp_path / "none.yaml").endswith("expected an inventory, found no such file")


def test_the_cache_gives_the_same_supply_without_ansible(tmp_path: Path) -> None:
    path = write(tmp_path / "i.yaml", of(a=HOST))
    first = read_inventory(path, tmp_path / "cache")
    code = (
        "import sys; from pathlib import Path; from provision.supply.inventory import read_inventory\n"
        "found = read_inventory(Path(sys.argv[1]), Path(sys.argv[2])); print(found.digest, 'ansible' in sys.modules)"
    )
    again = subprocess.run(
        [sys.executable, "-c", code, str(path), str(tmp_path / "cache")],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert again.stdout.split() == [first.digest, "False"]
    assert read_inventory(path, tmp_path / "cache") == first


@pytest.mark.parametrize("beside", ["group_vars/all.yml", "host_vars/a.yml", "group_vars/all/more.yml"])
def test_a_change_of_any_file_is_seen(tmp_path: Path, beside: str) -> None:
    host = {name: value for name, value in HOST.items() if name != "timelock_cpus"}
    path = write(tmp_path / "i.yaml", of(a=host))
    for cpus in (4, 6):
        write(tmp_path / beside, {"timelock_cpus": cpus})
        assert read_inventory(path, tmp_path / "cache").hosts[0].cpus == cpus
    write(path, of(a=host | {"timelock_cpus": 99, "timelock_memory": "1GB"}))
    assert read_inventory(path, tmp_path / "cache").hosts[0].memory_bytes == 10**9


def test_a_file_that_appears_is_seen(tmp_path: Path) -> None:
    path = write(tmp_path / "i.yaml", of(a=HOST))
    assert read_inventory(path, tmp_path / "cache").hosts[0].tier is None
    write(tmp_path / "group_vars/all.yml", {"timelock_tier": 2})
    assert read_inventory(path, tmp_path / "cache").hosts[0].tier == 2


def test_a_script_is_run_each_time(tmp_path: Path, script: Path) -> None:
    assert [read_inventory(script, tmp_path / "cache").hosts[0].cpus for _ in range(3)] == [1, 2, 3]
    assert not (tmp_path / "cache").exists()


def test_a_script_that_hangs_is_killed(tmp_path: Path, script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script.write_text("#!/bin/sh\necho $$ > pid\nsleep 600 & wait\n".replace("pid", str(tmp_path / "pid")))
    monkeypatch.setattr(limited.Popen, "limit_seconds", 3)
    assert "expected its end within 3 s, found it still running" in problems(script)
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()


@pytest.mark.parametrize(
    ("template", "kept"), [("{{ inventory_dir }}/id", True), ("{{ lookup('pipe', 'echo id') }}", False)]
)
def test_only_what_files_determine_is_kept(tmp_path: Path, template: str, kept: bool) -> None:
    read_inventory(
        write(tmp_path / "i.yaml", of(a=HOST | {"ansible_ssh_private_key_file": template})), tmp_path / "cache"
    )
    assert (tmp_path / "cache").exists() == kept


@pytest.mark.parametrize("damage", [b"", b"{}\n{}", b"\xff\xfe", b"[1]\n2"])
def test_a_damaged_cache_is_read_again(tmp_path: Path, damage: bytes) -> None:
    path, folder = write(tmp_path / "i.yaml", of(a=HOST)), tmp_path / "cache"
    first = read_inventory(path, folder)
    (kept,) = folder.iterdir()
    for broken in (damage, kept.read_bytes()[:-2], kept.read_bytes().replace(b"acme", b"evil")):
        kept.write_bytes(broken)
        assert read_inventory(path, folder) == first
        assert cache.load(folder, path, cache.fingerprint(path)) == first


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    path, folder = write(tmp_path / "i.yaml", of(a=HOST)), write(tmp_path / "file", "in the way")
    assert read_inventory(path, folder).hosts


def test_the_collector_is_left_as_it_was(tmp_path: Path) -> None:
    assert inventory.gc.isenabled()
    read_inventory(write(tmp_path / "i.yaml", of(a=HOST)))
    assert inventory.gc.isenabled()
