"""A window that grows costs more, to the second."""

from dataclasses import replace

from provision.booking.lifecycle import lengthened
from provision.matching.model import PlannedHost
from provision.supply.model import Gpu
from tests.provision.booking.test_access import plan
from tests.provision.booking.test_survey import HOST

HOUR_NS = 3600 * 10**9


def test_a_longer_window_costs_in_proportion() -> None:
    gpu = Gpu(uuid="GPU-1", index=0, model="H100", memory_bytes=1, device="/dev/nvidia0")
    host = PlannedHost(host=replace(HOST, price_micros_per_gpu_hour=2_400_000), gpus=(gpu, replace(gpu, uuid="GPU-2")))
    longer = lengthened(replace(plan(), hosts=(host,), end_ns=HOUR_NS), 3 * HOUR_NS // 2)
    assert longer.end_ns == 3 * HOUR_NS // 2
    assert longer.price_micros == 7_200_000
    assert longer.hosts == (host,)
