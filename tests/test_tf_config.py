"""What TF_CONFIG may say, and the meeting of the workers, without TensorFlow."""

import concurrent.futures
import json
import socket
import subprocess
import sys
import time
from typing import Any

import pytest

from hh_fast.config import DataConfig, TrainConfig
from hh_fast.distributed.handshake import introduction, meet
from hh_fast.distributed.tf_config import EXAMPLE, Cluster, ClusterError, find_cluster, parse_cluster
from hh_fast.errors import HHFastError, UsageError

TWO = ["127.0.0.1:2001", "127.0.0.1:2002"]


def free_addresses(count: int) -> tuple[str, ...]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = tuple(f"127.0.0.1:{s.getsockname()[1]}" for s in sockets)
    for s in sockets:
        s.close()
    return addresses


def config(cluster: Any, task: Any = None) -> str:
    return json.dumps({"cluster": cluster} | ({"task": task} if task else {}))


def test_workers_alone_and_behind_a_chief() -> None:
    assert parse_cluster(config({"worker": TWO}, {"type": "worker", "index": 1})) == Cluster(tuple(TWO), 1)
    behind = config({"chief": TWO[:1], "worker": TWO[1:]}, {"type": "worker", "index": 0})
    assert parse_cluster(behind) == Cluster(tuple(TWO), 1)
    chief = parse_cluster(config({"chief": TWO[:1], "worker": TWO[1:]}, {"type": "chief", "index": "0"}))
    assert chief is not None and chief.is_chief and chief.name(0) == "worker 0 (the chief, 127.0.0.1:2001)"


@pytest.mark.parametrize("text", ["", " ", "{}", '{"environment": "cloud"}', '{"cluster": {}}'])
def test_no_cluster(text: str) -> None:
    assert parse_cluster(text) is None


WORKER_0 = {"type": "worker", "index": 0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "be JSON (Expecting property name enclosed in double quotes: line 1 column 2 (char 1)). Received: {"),
        ("[1]", "be a JSON object. Received: [1]"),
        (config([1]), "hold lists of addresses by job. Received: [1]"),
        (config({"worker": []}, WORKER_0), 'name the cluster\'s workers. Received: {"worker": []}'),
        (config({"worker": TWO, "ps": TWO}, WORKER_0), "hold no other jobs than chief and worker. Received: ps"),
        (config({"worker": "a:1"}, WORKER_0), "hold a list of addresses for worker. Received: a:1"),
        (config({"worker": ["host"]}, WORKER_0), "give each address as HOST:PORT. Received: host"),
        (config({"worker": ["h:1", "h:70000"]}, WORKER_0), "give each address as HOST:PORT. Received: h:70000"),
        (
            config({"worker": ["h:1", "h:1"]}, WORKER_0),
            'give each worker an address of its own. Received: ["h:1", "h:1"]',
        ),
        (config({"chief": TWO}, {"type": "chief", "index": 0}), f"name one chief at most. Received: {json.dumps(TWO)}"),
        (config({"worker": TWO}), "say which task this process is. Received: null"),
        (config({"worker": TWO}, {"type": "worker"}), 'say which task this process is. Received: {"type": "worker"}'),
        (config({"worker": TWO}, {"type": "chief", "index": 0}), "have a task type among worker. Received: chief"),
        (config({"worker": TWO}, {"type": "worker", "index": "x"}), "have a number as task index. Received: x"),
        (config({"worker": TWO}, {"type": "worker", "index": 2}), "have a task index from 0 to 1. Received: 2"),
    ],
)
def test_a_wrong_or_partial_tf_config_is_one_line(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_cluster(text)
    assert str(caught.value) == f"TF_CONFIG must {message}. Example: {EXAMPLE}"


def test_which_strategies_look_for_a_cluster() -> None:
    environment = {"TF_CONFIG": config({"worker": TWO}, WORKER_0)}
    assert find_cluster("none", environment) is find_cluster("mirrored", environment) is None
    assert find_cluster("auto", environment) == find_cluster("multi_worker", environment) == Cluster(tuple(TWO), 0)
    assert find_cluster("auto", {}) is None
    with pytest.raises(UsageError) as caught:
        find_cluster("multi_worker", {})
    assert str(caught.value) == (
        f"`strategy` multi_worker needs TF_CONFIG to name the workers. Received: nothing. Example: {EXAMPLE}"
    )


def test_meeting_and_cluster_load_no_tensorflow() -> None:
    code = "import sys, hh_fast.distributed.handshake; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def outcomes(introductions: list[dict[str, Any]], *, workers: list[int] | None = None, timeout_s: float) -> list[str]:
    """What `meet` says at each of the workers, in processes' stead in threads; '' where it returns."""
    addresses = free_addresses(len(introductions))
    numbers = workers or list(range(len(introductions)))

    def one(i: int) -> str:
        try:
            meet(Cluster(addresses, numbers[i]), introductions[i], timeout_s=timeout_s)
        except HHFastError as e:
            assert isinstance(e, ClusterError) and e.exit_code == 5
            return str(e).replace(addresses[0], "ADDRESS0").replace(addresses[-1], "ADDRESS1")
        return ""

    with concurrent.futures.ThreadPoolExecutor(len(introductions)) as pool:
        return list(pool.map(one, range(len(introductions))))


def test_workers_that_are_alike_meet() -> None:
    assert outcomes([{"a": 1}] * 3, timeout_s=20) == ["", "", ""]


def test_what_differs_is_named_to_all() -> None:
    expected = "the workers differ: --seed is 1 at worker 0 and 2 at worker 1. Start all of them alike"
    assert outcomes([{"--seed": 1}, {"--seed": 2}, {"--seed": 1}], timeout_s=20) == [expected] * 3


def test_two_of_the_same_number_are_refused() -> None:
    said = outcomes([{}, {}, {}], workers=[0, 1, 1], timeout_s=20)
    assert set(said) == {"two processes are worker 1: give each a task index of its own in TF_CONFIG"}


@pytest.mark.parametrize(
    ("present", "missing"),
    [(0, "worker 1 (ADDRESS1) failed to connect"), (1, "worker 0 (the chief, ADDRESS0) did not answer")],
)
def test_a_missing_worker_is_a_time_out_with_its_address(present: int, missing: str) -> None:
    addresses = free_addresses(2)
    start = time.monotonic()
    with pytest.raises(ClusterError) as caught:
        meet(Cluster(addresses, present), {}, timeout_s=0.5)
    assert time.monotonic() - start < 5
    text = str(caught.value).replace(addresses[0], "ADDRESS0").replace(addresses[1], "ADDRESS1")
    assert text == (
        f"{missing} within --worker_timeout_s: see that it was started, and that its address can be reached from here"
    )


def test_a_stranger_at_the_chiefs_port_is_ignored() -> None:
    addresses = free_addresses(2)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        chief = pool.submit(meet, Cluster(addresses, 0), {}, timeout_s=20)
        for _ in range(100):
            try:
                with socket.create_connection(("127.0.0.1", int(addresses[0].split(":")[1]))) as stranger:
                    stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
                break
            except ConnectionRefusedError:
                time.sleep(0.02)
        worker = pool.submit(meet, Cluster(addresses, 1), {}, timeout_s=20)
        assert chief.result(20) is worker.result(20) is None


def test_the_introduction_leaves_out_where_things_lie() -> None:
    cluster = Cluster(tuple(TWO), 0)
    one = introduction(cluster, DataConfig(cache_dir="x", train_dir="a"), TrainConfig(run_dir="b"))
    assert one == introduction(cluster, DataConfig(train_dir="c"), TrainConfig())
    assert one != introduction(cluster, DataConfig(train_dir="c"), TrainConfig(batch_size=64))
    assert {"the code of hh_fast (SHA-256)", "the version of tensorflow", "--seed", "--batch_size"} <= set(one)
