# SPDX-License-Identifier: Apache-2.0
"""What the meta-data of a `docker` payload means, and what is refused."""

from typing import Any

import pytest

from updater.modules.containers import Container, Plan, read_plan
from updater.modules.problems import ModuleError


def only(**one: Any) -> Container:
    [container] = read_plan({"containers": [{"image": "i", **one}]}, []).containers
    return container


def test_menders_form() -> None:
    plan = read_plan({"containers": ["a@sha256:12", "b"], "run_args": "-v /data:/data --restart always"}, [])
    more: dict[str, Any] = {"volumes": ("/data:/data",), "restart": "always", "tty": True}
    assert plan == Plan((Container("a@sha256:12", **more), Container("b", **more)), alone=True)
    assert read_plan({"containers": ["a"], "run_args": ""}, []).containers == (Container("a", tty=True),)


def test_our_form() -> None:
    full = {
        "name": "app", "image": "app:2", "command": "run 'a b'", "environment": {"A": "1"}, "volumes": ["/d:/d"],
        "ports": ["8080:80"], "network": "host", "privileged": True, "restart": "on-failure:3",
        "run_args": "-dt --name other --device /dev/x -e B=2 --network none",
    }  # fmt: skip
    plan = read_plan({"images": [{"file": "t", "import": "x"}], "containers": [full, {"image": "i"}]}, ["a", "t", "b"])
    assert plan == Plan(
        (
            Container(
                image="app:2", name="app", command=("run", "a b"), environment=("A=1", "B=2"), volumes=("/d:/d",),
                ports={"80/tcp": 8080}, devices=("/dev/x",), network="host", restart="on-failure:3", privileged=True,
                tty=True,
            ),
            Container("i", restart="unless-stopped"),
        ),
        archives=("a", "b"),
        imports={"t": "x"},
    )  # fmt: skip
    assert read_plan({"containers": []}, []) == Plan(())


@pytest.mark.parametrize(
    ("said", "means"),
    [
        (["80"], {"80/tcp": None}),
        (["8080:80"], {"80/tcp": 8080}),
        (["127.0.0.1:53:53/udp"], {"53/udp": ("127.0.0.1", 53)}),
        (["1:80", "2:80"], {"80/tcp": [1, 2]}),
    ],
)
def test_ports(said: list[str], means: dict[str, Any]) -> None:
    assert only(ports=said).ports == means


@pytest.mark.parametrize(
    ("meta_data", "says"),
    [
        ([], "no list 'containers'"),
        ({}, "no list 'containers'"),
        ({"containers": "a"}, "no list 'containers'"),
        ({"containers": ["a", {"image": "b"}]}, "neither a list of names nor of objects"),
        ({"containers": [{}]}, "has no 'image'"),
        ({"containers": [""]}, "has no 'image'"),
        ({"containers": [{"image": 3}]}, "'image' of a container"),
        ({"containers": [{"image": "i", "memory": 1}]}, "has 'memory', which means nothing here"),
        ({"containers": [{"image": "i", "command": [1]}]}, "'command' of a container"),
        ({"containers": [{"image": "i", "restart": "sometimes"}]}, "'sometimes' is no restart policy"),
        ({"containers": [{"image": "i", "restart": "always:3"}]}, "'always:3' is no restart policy"),
        ({"containers": [{"image": "i", "ports": ["http"]}]}, "'http' is no port"),
        ({"containers": [{"image": "i", "ports": ["a:80"]}]}, "'a:80' is no port"),
        ({"containers": [{"image": "i", "run_args": "--rm"}]}, "run_args .* cannot be used: .*--rm"),
        ({"containers": [{"image": "i", "run_args": "'"}]}, "run_args .* cannot be used: No closing quotation"),
        ({"containers": [{"image": "i", "run_args": ["-d"]}]}, "run_args .* is not a text"),
        ({"containers": [{"image": "i", "name": "n"}, {"image": "j", "name": "n"}]}, "the same name"),
        ({"containers": ["a", "b"], "run_args": "--name n"}, "the same name"),
        ({"containers": [], "images": {}}, "'images'"),
        ({"containers": [], "images": [{"file": "t"}]}, "needs 'file' and 'import'"),
        ({"containers": [], "images": [{"file": "u", "import": "x"}]}, "has no file 'u'"),
    ],
)
def test_what_is_refused(meta_data: Any, says: str) -> None:
    with pytest.raises(ModuleError, match=says):
        read_plan(meta_data, ["t"])
