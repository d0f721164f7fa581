from __future__ import annotations

from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import registry
from serve_app.deployment import config
from serve_app.deployment.config import Difference
from serve_app.errors import BadConfig

KNOWN = ("v1", "v2")
BASE: dict[str, Any] = {
    "http_options": {"host": "127.0.0.1", "port": 8000},
    "applications": [
        {
            "name": "animals",
            "route_prefix": "/",
            "import_path": "serve_app.serving.app:animals",
            "deployments": [
                {"name": "Ingress", "user_config": {"rule": {"kind": "single", "stable": "v1"}}},
                {"name": "StablePool", "user_config": {"version": "v1"}, "max_ongoing_requests": 2},
                {"name": "CandidatePool", "user_config": {"version": "v2"}},
            ],
        },
        {"name": "control", "route_prefix": "/control", "import_path": "x:control"},
    ],
}


@pytest.fixture
def document() -> dict[str, Any]:
    return deepcopy(BASE)


def animals(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["applications"][0]
    return found


def rejection(document: dict[str, Any]) -> BadConfig:
    with pytest.raises(BadConfig) as caught:
        config.check(document, KNOWN)
    return caught.value


class TestRead:
    def test_read_returns_the_yaml_content(self, tmp_path: Path) -> None:
        (tmp_path / "base.yaml").write_text("applications:\n- name: animals\n")
        assert config.read(tmp_path / "base.yaml") == {"applications": [{"name": "animals"}]}

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"- animals\n", "is not a mapping, but a list: expected a Ray Serve configuration"),
            (b"", "is not a mapping"),
            (b"a: [1\nb: 2", "is not YAML: "),
            (b"a: \xff", "is not UTF-8 (invalid start byte): save it as UTF-8"),
            (b"!!python/object/apply:os.system ['true']", "has the tag "),
        ],
    )
    def test_invalid_files_are_rejected_with_one_line(
        self, tmp_path: Path, content: bytes, message: str
    ) -> None:
        path = tmp_path / "base.yaml"
        path.write_bytes(content)
        with pytest.raises(BadConfig) as caught:
            config.read(path)
        assert str(caught.value).startswith(f"{path} {message}")
        assert "\n" not in str(caught.value)

    def test_the_error_of_a_missing_file_names_it(self, tmp_path: Path) -> None:
        with pytest.raises(BadConfig, match=r"none\.yaml cannot be read \(No such file"):
            config.read(tmp_path / "none.yaml")


class TestCheck:
    def test_a_valid_configuration_passes(self, document: dict[str, Any]) -> None:
        config.check(document, KNOWN)

    @pytest.mark.parametrize("name", ["animals", "control"])
    def test_a_missing_application_is_rejected(self, document: dict[str, Any], name: str) -> None:
        document["applications"] = [a for a in document["applications"] if a["name"] != name]
        assert str(rejection(document)) == (
            f"applications leaves out '{name}', and Serve would delete it: list it"
        )

    def test_a_rule_with_an_unknown_version_is_rejected(self, document: dict[str, Any]) -> None:
        animals(document)["deployments"][0]["user_config"]["rule"]["stable"] = "v9"
        assert rejection(document).path == "rule.stable"

    @pytest.mark.parametrize("pool", ["StablePool", "CandidatePool"])
    def test_a_pool_with_an_unknown_version_is_rejected(
        self, document: dict[str, Any], pool: str
    ) -> None:
        for deployment in animals(document)["deployments"]:
            if deployment["name"] == pool:
                deployment["user_config"]["version"] = "v9"
        assert str(rejection(document)) == (
            f"animals.{pool}.user_config.version is v9: the registry has v1, v2"
        )

    @pytest.mark.parametrize("applications", [{}, "animals", 7, ["animals"], [None]])
    def test_applications_must_be_a_list_of_mappings(
        self, document: dict[str, Any], applications: Any
    ) -> None:
        assert str(rejection({"applications": applications})) == (
            "applications is not a list of applications"
        )

    @pytest.mark.parametrize("deployments", [{"name": "Ingress"}, "Ingress", 7, ["Ingress"]])
    def test_deployments_must_be_a_list_of_mappings(
        self, document: dict[str, Any], deployments: Any
    ) -> None:
        animals(document)["deployments"] = deployments
        assert str(rejection(document)) == "animals.deployments is not a list of deployments"

    @pytest.mark.parametrize("name", ["Ingress", "StablePool", "CandidatePool"])
    @pytest.mark.parametrize("how", ["deployment", "user_config", "null"])
    def test_a_missing_user_config_is_rejected(
        self, document: dict[str, Any], name: str, how: str
    ) -> None:
        """Serve does not call `reconfigure` of a replica without a `user_config`."""
        (deployment,) = [d for d in animals(document)["deployments"] if d["name"] == name]
        if how == "deployment":
            animals(document)["deployments"].remove(deployment)
        elif how == "user_config":
            del deployment["user_config"]
        else:
            deployment["user_config"] = None
        assert rejection(document).path == f"animals.{name}.user_config"

    @pytest.mark.parametrize("index", range(3))
    @pytest.mark.parametrize("number", [4, 0, "auto"])
    def test_num_replicas_of_an_autoscaled_deployment_is_rejected(
        self, document: dict[str, Any], index: int, number: Any
    ) -> None:
        """Serve would ignore it."""
        deployment = animals(document)["deployments"][index]
        deployment["num_replicas"] = number
        assert str(rejection(document)).startswith(
            f"animals.{deployment['name']}.num_replicas is {number}, but the deployment is autosc"
        )

    @pytest.mark.parametrize("content", ["v1", ["v1"], {"version": "v1", "colour": "red"}])
    def test_an_invalid_user_config_of_a_pool_is_rejected(
        self, document: dict[str, Any], content: Any
    ) -> None:
        animals(document)["deployments"][1]["user_config"] = content
        assert rejection(document).path.startswith("animals.StablePool.user_config")

    @pytest.mark.parametrize(
        ("index", "key", "value", "message"),
        [
            (0, "route_prefix", "/x", "animals.route_prefix is '/x': expected /"),
            (1, "route_prefix", "/ctl", "control.route_prefix is '/ctl': expected /control"),
            (
                1,
                "deployments",
                [{"name": "Controller", "num_replicas": 3}],
                "control.Controller.num_replicas is set: leave it out, there is one Controller",
            ),
            (
                1,
                "deployments",
                [{"name": "ControlAp", "max_ongoing_requests": 3}],
                "control.ControlAp is not one of Controller, ControlApi; did you mean ControlApi?",
            ),
        ],
    )
    def test_other_routes_and_deployments_of_the_applications_are_rejected(
        self, document: dict[str, Any], index: int, key: str, value: Any, message: str
    ) -> None:
        document["applications"][index][key] = value
        assert str(rejection(document)) == message

    def test_the_control_plane_needs_a_route_prefix(self, document: dict[str, Any]) -> None:
        del document["applications"][1]["route_prefix"]
        assert rejection(document).path == "control.route_prefix"

    def test_an_unknown_deployment_is_rejected(self, document: dict[str, Any]) -> None:
        animals(document)["deployments"].append({"name": "ShadowPool"})
        assert str(rejection(document)) == (
            "animals.ShadowPool is not one of Ingress, StablePool, CandidatePool;"
            " did you mean StablePool?"
        )

    def test_a_deployment_that_is_listed_twice_is_rejected(self, document: dict[str, Any]) -> None:
        deployments = animals(document)["deployments"]
        deployments.append(deployments[1])
        assert str(rejection(document)) == "animals.deployments lists a name twice"

    def test_all_faults_are_named(self, document: dict[str, Any]) -> None:
        ingress, stable, candidate = animals(document)["deployments"]
        ingress["user_config"]["rule"] = {"kind": "single", "stabel": "v1"}
        stable["usr_config"] = stable.pop("user_config")
        stable["num_replicas"] = 2
        candidate["user_config"]["patch"] = {"version": "v1"}
        candidate["autoscaling_config"] = {"max_replicas": "two"}
        size, *others = [str(finding) for finding in rejection(document).findings]
        assert size.startswith("animals.StablePool.num_replicas is 2, but the deployment is autos")
        scaling = "animals.CandidatePool.autoscaling_config"
        assert others == [
            f"{scaling}.max_replicas is 'two': expected a whole number from 1 to 1000",
            "rule.stabel is not a key here: did you mean stable?",
            "animals.StablePool.usr_config is not a key here: did you mean user_config?",
            "animals.CandidatePool.user_config.patch.replicas is missing",
            "animals.CandidatePool.user_config.patch.of is missing",
        ]

    def test_a_misspelt_list_of_applications_is_named(self) -> None:
        assert str(rejection({"aplications": []})) == (
            "aplications is not a key here: did you mean applications?"
        )
        assert str(rejection({})) == "applications is missing"

    def test_an_application_that_is_listed_twice_is_rejected(
        self, document: dict[str, Any]
    ) -> None:
        document["applications"].append(deepcopy(document["applications"][0]))
        assert str(rejection(document)) == "applications lists a name twice: keep one"

    def test_the_numbers_of_other_applications_are_checked(self, document: dict[str, Any]) -> None:
        other = {"name": "other", "deployments": [{"name": "A", "num_replicas": 10**12}]}
        document["applications"].append(other)
        assert rejection(document).path == "other.A.num_replicas"

    def test_a_request_router_config_is_rejected(self, document: dict[str, Any]) -> None:
        animals(document)["deployments"][1]["request_router_config"] = {}
        assert rejection(document).path == "animals.StablePool.request_router_config"


# YAML content with the keys of a deployment file.
nodes: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(),
        st.integers(),
        st.sampled_from(["animals", "control", "Ingress", "StablePool", "v1", ""]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                ["applications", "deployments", "name", "args", "registry", "user_config"]
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=15,
)
applications = st.lists(
    st.fixed_dictionaries(
        {"name": st.one_of(st.sampled_from(["animals", "control"]), nodes)},
        optional={"deployments": nodes, "args": nodes},
    ),
    max_size=3,
)


@given(st.one_of(nodes.filter(lambda n: isinstance(n, dict)),
                 st.fixed_dictionaries({"applications": applications})))  # fmt: skip
def test_arbitrary_content_raises_only_bad_config(document: dict[str, Any]) -> None:
    """`serve-app deploy` reads the registry's folder before it checks the file."""
    config.registry_folder(document)
    with suppress(BadConfig):
        config.check(document, KNOWN)


class TestRegistryFolder:
    def test_registry_folder_is_the_shipped_one_unless_args_name_another(
        self, document: dict[str, Any]
    ) -> None:
        assert config.registry_folder(document) == registry.SHIPPED
        animals(document)["args"] = {"registry": "/srv/models"}
        assert config.registry_folder(document) == Path("/srv/models")


class TestDifferences:
    def test_equal_configurations_have_no_differences(self, document: dict[str, Any]) -> None:
        assert config.differences(BASE, document) == []

    def test_the_order_of_applications_and_deployments_does_not_matter(
        self, document: dict[str, Any]
    ) -> None:
        animals(document)["deployments"].reverse()
        document["applications"].reverse()
        assert config.differences(BASE, document) == []

    def test_a_version_change_restarts_no_replicas(self, document: dict[str, Any]) -> None:
        animals(document)["deployments"][1]["user_config"]["version"] = "v2"
        (change,) = config.differences(BASE, document)
        assert change == Difference("animals.StablePool.user_config.version", "v1", "v2", False)

    def test_a_backend_change_restarts_replicas(self, document: dict[str, Any]) -> None:
        animals(document)["args"] = {"backend": "torch"}
        assert config.differences(BASE, document) == [
            Difference("animals.args.backend", None, "torch", True)
        ]

    def test_a_removed_key_is_a_difference(self, document: dict[str, Any]) -> None:
        del animals(document)["deployments"][1]["max_ongoing_requests"]
        assert config.differences(BASE, document) == [
            Difference("animals.StablePool.max_ongoing_requests", 2, None, False)
        ]

    def test_swapped_arguments_swap_before_and_after(self, document: dict[str, Any]) -> None:
        animals(document)["import_path"] = "elsewhere:animals"
        animals(document)["deployments"][0]["user_config"]["rule"]["allow_pin"] = True
        there, back = (config.differences(*pair) for pair in ((BASE, document), (document, BASE)))
        assert [(d.path, d.before, d.after) for d in there] == [
            (d.path, d.after, d.before) for d in back
        ]
        assert len(there) == 2

    @pytest.mark.parametrize(
        ("option", "restarts_replicas"),
        [
            ("user_config", False),
            ("num_replicas", False),
            ("health_check_period_s", False),
            ("rolling_update_percentage", False),
            ("autoscaling_config", True),  # it is added
            ("request_router_config", True),
            ("ray_actor_options", True),
            ("placement_group_bundles", True),
            ("max_replicas_per_node", True),
            ("deployment_actors", True),
            ("num_replicas_of_another_kind", True),
        ],
    )
    def test_restarts_replicas_follows_the_option(
        self, document: dict[str, Any], option: str, restarts_replicas: bool
    ) -> None:
        animals(document)["deployments"][0][option] = {"key": {"user_config": 3}}
        for pair in ((BASE, document), (document, BASE)):
            changes = config.differences(*pair)
            assert {change.restarts_replicas for change in changes} == {restarts_replicas}

    def test_changes_within_an_autoscaling_config_restart_no_replicas(
        self, document: dict[str, Any]
    ) -> None:
        candidate = animals(document)["deployments"][2]
        candidate["autoscaling_config"] = {"min_replicas": 0, "max_replicas": 2}
        other = deepcopy(document)
        animals(other)["deployments"][2]["autoscaling_config"] = {
            "min_replicas": 1,
            "upscale_delay_s": 4,
        }
        key = "animals.CandidatePool.autoscaling_config"
        assert config.differences(document, other) == [
            Difference(f"{key}.max_replicas", 2, None, False),
            Difference(f"{key}.min_replicas", 0, 1, False),
            Difference(f"{key}.upscale_delay_s", None, 4, False),
        ]

    @pytest.mark.parametrize("without", [{}, {"autoscaling_config": None}])
    def test_an_added_or_removed_autoscaling_config_restarts_replicas(
        self, document: dict[str, Any], without: dict[str, Any]
    ) -> None:
        """Independently of the other deployments."""
        _, stable, candidate = animals(document)["deployments"]
        candidate["autoscaling_config"] = {"min_replicas": 0, "max_replicas": 2}
        other = deepcopy(document)
        stable |= without
        animals(other)["deployments"][1] |= {"autoscaling_config": {"min_replicas": 1}}
        for pair in ((document, other), (other, document)):
            assert {c.path: c.restarts_replicas for c in config.differences(*pair)} == {
                "animals.StablePool.autoscaling_config.min_replicas": True,
            }

    @pytest.mark.parametrize(
        "policy", ["elsewhere:policy", {"policy_function": "elsewhere:policy"}]
    )
    def test_another_autoscaling_policy_restarts_replicas(
        self, document: dict[str, Any], policy: Any
    ) -> None:
        animals(document)["deployments"][2]["autoscaling_config"] = {"min_replicas": 0}
        other = deepcopy(document)
        animals(other)["deployments"][2]["autoscaling_config"]["policy"] = policy
        for pair in ((document, other), (other, document)):
            assert [change.restarts_replicas for change in config.differences(*pair)] == [True]

    def test_a_request_router_change_restarts_replicas(self, document: dict[str, Any]) -> None:
        router = {"request_router_class": "elsewhere:Router", "request_routing_stats_period_s": 1}
        animals(document)["deployments"][1]["request_router_config"] = router
        other = deepcopy(document)
        animals(other)["deployments"][1]["request_router_config"] |= {
            "request_routing_stats_period_s": 2
        }
        for pair in ((BASE, document), (document, BASE), (document, other)):
            changes = config.differences(*pair)
            assert changes
            assert all(change.restarts_replicas for change in changes)
