"""The program against Pulumi's mocks: what it registers, in what order, and what is secret."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pulumi
import pytest
from pulumi.runtime import rpc
from pulumi.runtime.mocks import MockCallArgs, MockResourceArgs, Mocks
from pulumi.runtime.stack import wait_for_rpcs

from stacks.booking import BookingSpec
from stacks.program import Registrar, urn_of


class Host(Mocks):
    """Every role succeeds and brings forth what the real one does."""

    def __init__(self) -> None:
        self.seen: dict[str, MockResourceArgs] = {}

    def new_resource(self, args: MockResourceArgs) -> tuple[str, dict[Any, Any]]:
        self.seen[args.name] = args
        outputs = {"public_keys": {"0": f"key of {args.name}"}, "session": f"session of {args.name}"}
        return args.name, {**args.inputs, "outputs": outputs, "drift": []}

    def call(self, args: MockCallArgs) -> dict[Any, Any]:
        raise AssertionError("the program calls no function")


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Pulumi's mocks want an event loop in each thread that they run in, and would leave open what they make."""
    made, of_thread = asyncio.new_event_loop(), asyncio.new_event_loop()
    asyncio.set_event_loop(made)
    with ThreadPoolExecutor(1, initializer=asyncio.set_event_loop, initargs=(of_thread,)) as executor:
        made.set_default_executor(executor)
        yield made
    asyncio.set_event_loop(None)
    made.close()
    of_thread.close()


@pytest.fixture
def host(loop: asyncio.AbstractEventLoop) -> Host:
    mocks = Host()
    pulumi.runtime.set_mocks(mocks, project="timelock", stack="demo", preview=False)
    return mocks


@pytest.fixture
def registered(host: Host, loop: asyncio.AbstractEventLoop, spec: BookingSpec) -> Host:
    async def register() -> None:
        await Registrar(spec, b"secret").register()
        await wait_for_rpcs()

    loop.run_until_complete(register())
    return host


def secret_peer(params: Any) -> Any:
    """The first peer of params which hold a secret; the mocks tell that of the whole."""
    assert rpc.is_rpc_secret(params)
    return rpc.unwrap_rpc_secret(params)["planes"][0]["peers"][0]


def test_every_role_of_every_host_is_registered(registered: Host) -> None:
    assert len(registered.seen) == 14
    assert registered.seen["lab-a2.firewall"].typ == "timelock:host:Firewall"
    assert registered.seen["lab-a2.firewall"].inputs["host"] == "lab-a2"


def test_outputs_and_keys_are_filled_in(registered: Host) -> None:
    one, other = (secret_peer(registered.seen[name].inputs["params"]) for name in ("lab-a1.mesh", "lab-a2.mesh"))
    assert one["public_key"] == "key of lab-a2.identity"
    assert other["public_key"] == "key of lab-a1.identity"
    assert registered.seen["lab-a2.ray"].inputs["params"]["head_session"] == "session of lab-a1.ray"
    assert registered.seen["lab-a1.ray"].inputs["params"].get("head_session") is None
    assert one["preshared_key"] == other["preshared_key"]


def test_urns_are_those_of_the_stack(host: Host) -> None:
    assert urn_of("lab-a1.ray") == "urn:pulumi:demo::timelock::timelock:host:Ray::lab-a1.ray"
