"""Names, addresses and firewall of a lab follow from its number."""

import ipaddress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.lab.network import FIRST_HOST, LAST_HOST, NUMBERS, Network, routed_numbers, ruleset

numbers = st.integers(min_value=0, max_value=255)
indexes = st.integers(min_value=1, max_value=LAST_HOST - FIRST_HOST + 1)


@given(number=numbers, index=indexes)
def test_hosts_have_addresses_of_their_lab(number: int, index: int) -> None:
    network = Network(number=number)
    address = ipaddress.ip_address(network.host_address(index))
    assert address in ipaddress.ip_network(network.subnet)
    assert address != ipaddress.ip_address(network.controller)


@given(first=st.tuples(numbers, indexes), second=st.tuples(numbers, indexes))
def test_no_two_hosts_share_an_address(first: tuple[int, int], second: tuple[int, int]) -> None:
    one, other = (Network(number=number).host_mac(index) for number, index in (first, second))
    assert (one == other) == (first == second)
    assert int(one[:2], 16) & 0b11 == 0b10  # locally administered, one receiver


@given(number=numbers)
def test_names_fit_the_kernel(number: int) -> None:
    assert len(Network(number=number).name) <= 15


@given(first=numbers, second=numbers)
def test_labs_share_no_name(first: int, second: int) -> None:
    one, other = Network(number=first), Network(number=second)
    for name in ("name", "table", "group", "subnet", "controller"):
        assert (getattr(one, name) == getattr(other, name)) == (first == second)


def test_the_leg_admits_registry_and_proxy_and_forwards_nothing() -> None:
    text = ruleset(Network(number=7))
    assert "tcp dport { 3128, 5000 } accept" in text
    assert text.count("accept") == 5  # two policies, established, services, echo
    assert 'iifname "tl-lab7" counter drop' in text
    assert 'oifname "tl-lab7" counter drop' in text
    assert text.replace("lab7", "lab8").replace("10.77.7.", "10.77.8.") == ruleset(replace(Network(number=7), number=8))


@pytest.mark.parametrize(
    ("route", "taken"),
    [
        ("default via 192.0.2.1 dev eth0", set()),
        ("10.77.3.0/24 dev tl-lab3 proto kernel scope link src 10.77.3.1", {3}),
        ("local 10.77.4.1 dev x table local proto kernel scope host src 10.77.4.1", {4}),
        ("broadcast 10.77.5.255 dev x table local", {5}),
        ("10.77.128.0/23 dev vpn", {128, 129}),
        ("10.0.0.0/8 dev vpn", set()),
        ("10.77.0.0/16 dev vpn", set(NUMBERS)),
        ("multicast ff00::/8 dev eth0", set()),
        ("", set()),
    ],
)
def test_numbers_that_the_machine_routes_elsewhere_are_taken(route: str, taken: set[int]) -> None:
    assert routed_numbers(f"{route}\n") == taken
