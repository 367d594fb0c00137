"""What TF_CONFIG may say."""

import json
from typing import Any

import pytest

from hh_fast.distributed.tf_config import EXAMPLE, Cluster, find_cluster, parse_cluster
from hh_fast.errors import UsageError

TWO = ["127.0.0.1:2001", "127.0.0.1:2002"]


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
    rule, received = message.split(". Received: ")
    assert str(caught.value) == f"TF_CONFIG must {rule}, as in {EXAMPLE}. Received: {received}"


def test_which_strategies_look_for_a_cluster() -> None:
    environment = {"TF_CONFIG": config({"worker": TWO}, WORKER_0)}
    assert find_cluster("none", environment) is find_cluster("mirrored", environment) is None
    assert find_cluster("auto", environment) == find_cluster("multi_worker", environment) == Cluster(tuple(TWO), 0)
    assert find_cluster("auto", {}) is None
    with pytest.raises(UsageError) as caught:
        find_cluster("multi_worker", {})
    assert str(caught.value) == f"--strategy=multi_worker needs TF_CONFIG to name the workers, as in {EXAMPLE}"
