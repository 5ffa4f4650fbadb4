"""The chart renders what Kubernetes accepts, and refuses values that can't be meant with a sentence."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import unittest
from typing import Any, Iterator

import helm_python as helm
import yaml

from . import kube, values_table

#: The oldest release that the chart supports, and the newest whose schema there is.
VERSIONS = ("1.27.0", "1.37.0")

KEDA = {"prometheusUrl": "http://prometheus.monitoring:9090"}
SSH = {"source": "git", "git": {"url": "ssh://git@git.example.org/ci.git", "secretName": "git-key"}}


def _readme_example(heading: str) -> dict[str, Any]:
    """The values that the README shows below a heading."""
    text = (kube.CHART / "README.md").read_text().split(f"## {heading}\n")[1]
    example: dict[str, Any] = yaml.safe_load(text.split("```yaml\n")[1].split("```")[0])
    return example


PEERS = [{"namespaceSelector": {"matchLabels": {"name": "ingress"}}}]
ALL_ROLES = {"roles": ["web", "scheduler", "engine", "gateway"], "kind": "StatefulSet", "replicas": 3}

#: Values that somebody installs with.
MATRIX: dict[str, dict[str, Any]] = {
    "as it is": {},
    "to try": {"database": {"type": "bundled", "secretName": "pw"}, "networkPolicy": {"enabled": False}},
    "one master": {
        "masters": {
            "web": {"enabled": False},
            "scheduler": {"enabled": False},
            "engine": {"enabled": False},
            "all": {**ALL_ROLES, "replicas": 1},
        },
        "router": {"type": "none"},
        "migrations": {"enabled": False},
    },
    "symmetric": {
        "masters": {"web": {"enabled": False}, "scheduler": {"enabled": False}, "engine": ALL_ROLES},
        "router": {"type": "external", "url": "wss://router.example.org/ws"},
        "config": {"source": "existingConfigMap", "existingConfigMap": "ours"},
    },
    "a gateway of its own": {
        **_readme_example("Upgrade"),
        "networkPolicy": {"workersFrom": PEERS},
        "service": {"workers": {"type": "LoadBalancer", "msgpackPort": 9988, "loadBalancerSourceRanges": ["10.0.0.0/8"]}},
        "sharedDirectory": {"existingClaim": "shared"},
        "config": SSH,
    },
    "scaled by HPA": {
        "masters": {"engine": {"autoscaling": {"type": "hpa"}}},
        "workers": {"autoscaling": {"type": "hpa"}},
        "config": {"source": "image", "image": {"directory": "/etc/ci"}},
    },
    "scaled by KEDA": {
        "masters": {"engine": {"autoscaling": {"type": "keda"}}},
        "workers": {"autoscaling": {"type": "keda", "maxReplicas": 40}},
        "keda": KEDA,
    },
    "everything": {
        **_readme_example("Pages below a path"),
        "networkPolicy": {"uiFrom": PEERS, "workersFrom": PEERS, "metricsFrom": PEERS},
        "monitoring": {
            "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
            "alerts": {"enabled": True},
            "dashboard": {"enabled": True},
        },
        "router": {"configSecretName": "router"},
        "image": {"repository": "registry.example.org/muster", "tag": "1", "pullSecrets": [{"name": "registry"}]},
        "config": {"masterCfg": "c = BuildmasterConfig = {}\n", "files": {"passwords.py": "x = 1\ny = 2\n"}},
        "defaults": {
            "env": [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "token", "key": "token"}}}],
            "envFrom": [{"secretRef": {"name": "more"}}],
            "volumes": [{"name": "keys", "secret": {"secretName": "keys"}}],
            "volumeMounts": [{"name": "keys", "mountPath": "/keys"}],
            "nodeSelector": {"pool": "ci"},
            "tolerations": [{"key": "ci", "operator": "Exists"}],
            "affinity": {"nodeAffinity": {}},
            "priorityClassName": "high",
            "podAnnotations": {"a": "b"},
            "podLabels": {"c": "d"},
        },
    },
    "no workers": {"workers": {"enabled": False}, "service": {"workers": {"pbPort": 0}}},
}

#: Values that contradict each other, or can't be, and the sentence about them.
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"masters": {"web": {"replicas": 0}}}, "no master has the role web: give it to a group of masters"),
    ({"masters": {"engine": {"enabled": False}}}, "no master has the role engine"),
    ({"masters": {"more": {"roles": []}}}, "masters.more has no roles"),
    ({"masters": {"engine": {"roles": ["gateway"]}}}, "no master has the role engine"),
    ({"masters": {"gateway": {"enabled": True}}}, "set masters.engine.roles to [engine]"),
    ({"masters": {"engine": {"roles": ["engine"]}}}, "enable masters.gateway, or set both ports to 0"),
    (
        {"masters": {"gateway": {"enabled": True}, "engine": {"roles": ["engine"]}}, "service": {"workers": {"pbPort": 0}}},
        "masters.gateway does nothing: it only has the role gateway",
    ),
    ({"masters": {"web": {"updateStrategy": "OnDelete"}}}, "a Deployment has no updateStrategy OnDelete"),
    (
        {"masters": {"engine": {"autoscaling": {"type": "hpa", "minReplicas": 9}}}},
        "masters.engine.autoscaling: minReplicas (9) is more than maxReplicas (6)",
    ),
    ({"masters": {"engine": {"autoscaling": {"type": "keda"}}}}, "but keda.prometheusUrl is empty"),
    ({"workers": {"autoscaling": {"type": "keda"}}}, "but keda.prometheusUrl is empty"),
    ({"workers": {"autoscaling": {"type": "hpa", "minReplicas": 11}}}, "minReplicas (11) is more than maxReplicas (10)"),
    ({"workers": {"secretName": ""}}, "workers.secretName is empty"),
    ({"database": {"secretName": ""}}, "database.secretName is empty"),
    ({"router": {"type": "external"}}, "router.type is external, but router.url is empty"),
    ({"router": {"url": "ws://router/ws"}}, "router.url is set, but router.type is bundled"),
    ({"router": {"type": "none"}}, "router.type is none, but there may be 6 masters"),
    ({"config": {"source": "git"}}, "config.git.url is empty"),
    ({"config": {"source": "existingConfigMap"}}, "config.existingConfigMap names none"),
    ({"config": {"source": "image", "masterCfg": "c = {}"}}, "config.source is image: set it to configMap"),
    ({"config": {"files": {"master.cfg": ""}}}, "its text belongs into config.masterCfg"),
    ({"ingress": {"enabled": True}}, "ingress.host is empty"),
    (
        {"ingress": {"enabled": True, "host": "ci.example.org"}, "publicUrl": "https://other.example.org/"},
        "publicUrl (https://other.example.org/) does not lead to ingress.host (ci.example.org)",
    ),
    ({"service": {"workers": {"sessionPort": 9989}}}, "port 9989 is used twice"),
    ({"service": {"workers": {"sessionPort": 80}}}, "at '/service/workers/sessionPort': minimum: got 80"),
    ({"replicas": 3}, "additional properties 'replicas' not allowed"),
    ({"masters": {"engine": {"roles": ["engin"]}}}, "at '/masters/engine/roles/0': value must be one of 'web'"),
    ({"masters": {"engine": {"replicas": "two"}}}, "at '/masters/engine/replicas': got string, want integer"),
    ({"publicUrl": "ci.example.org"}, "at '/publicUrl': 'ci.example.org' does not match pattern"),
    ({"database": {"password": "secret"}}, "additional properties 'password' not allowed"),
]


class Chart(unittest.TestCase):
    def test_what_is_rendered_is_what_kubernetes_accepts(self) -> None:
        seen = set()
        for name, values in MATRIX.items():
            for upgrade in (False, True):
                resources = kube.render(values, upgrade)
                self.assertTrue(resources)
                new = {json.dumps(resource): resource for resource in resources}
                for resource in (new[text] for text in new.keys() - seen):
                    for version in VERSIONS:
                        with self.subTest(name, upgrade=upgrade, kind=resource["kind"], version=version):
                            kube.validate(resource, version)
                seen |= new.keys()

    def test_a_wrong_field_is_found(self) -> None:
        resource = next(found for found in kube.render() if found["kind"] == "StatefulSet")
        resource["spec"]["template"]["spec"]["containers"][0]["readyProbe"] = {}
        with self.assertRaises(kube.kubernetes_validate.ValidationError):
            kube.validate(resource, VERSIONS[0])

    def test_values_that_contradict_each_other_are_refused_with_a_sentence(self) -> None:
        for values, sentence in REFUSED:
            with self.subTest(sentence):
                self.assertIn(sentence, kube.refusal(values))

    def test_every_sentence_is_tested(self) -> None:
        text = (kube.CHART / "templates" / "validate.yaml").read_text()
        said = [kube.refusal(values) for values, _ in REFUSED]
        for sentence in re.findall(r'fail \(?(?:printf )?"([^"%]*)', text):
            if sentence.startswith("this chart needs Kubernetes"):
                continue
            with self.subTest(sentence):
                self.assertTrue(any(sentence in told for told in said))

    def test_an_old_kubernetes_is_refused(self) -> None:
        with helm.Chart.load(kube.CHART) as chart:
            self.assertEqual(chart.metadata["kubeVersion"], ">=1.27.0-0")
        # Lint goes on after it, and only logs the sentence; an install ends with it.
        lint = f"import helm_python; helm_python.lint({str(kube.CHART)!r}, kube_version='v1.26.0')"
        said = subprocess.run([sys.executable, "-c", lint], capture_output=True, text=True, check=True).stderr
        self.assertIn("this chart needs Kubernetes 1.27 or newer, this is v1.26.0", said)

    def test_helm_finds_nothing_to_say(self) -> None:
        found = helm.lint(kube.CHART, strict=True)
        self.assertEqual([told for told in found["messages"] if told["severity"] > 1], [])

    def test_names_are_used_once(self) -> None:
        for name, values in MATRIX.items():
            names = [(found["kind"], found["metadata"]["name"]) for found in kube.render(values, upgrade=True)]
            self.assertEqual(len(names), len(set(names)), (name, sorted(names)))

    def test_the_readme_tells_every_value(self) -> None:
        readme = (kube.CHART / "README.md").read_text()
        self.assertIn(values_table.table(), readme, "run `python3 -m tests.operations.values_table --write`")


class Meaning(unittest.TestCase):
    def test_secrets_are_only_referred_to(self) -> None:
        for values in MATRIX.values():
            resources = kube.render(values)
            self.assertNotIn("Secret", {found["kind"] for found in resources})
            for container in (found for resource in resources for found in kube.containers(resource)):
                for variable in container.get("env", []):
                    if re.search("PASSWORD|TOKEN", variable["name"]):
                        self.assertIn("secretKeyRef", variable["valueFrom"])

    def test_everybody_is_unprivileged(self) -> None:
        for resource in (found for values in MATRIX.values() for found in kube.render(values)):
            for container in kube.containers(resource):
                pod = resource["spec"]["template"]["spec"]
                self.assertTrue(pod["securityContext"]["runAsNonRoot"], container["name"])
                self.assertEqual(container["securityContext"]["capabilities"], {"drop": ["ALL"]})
                self.assertFalse(pod["automountServiceAccountToken"])

    def test_masters_are_probed_and_drain(self) -> None:
        for master in _masters(kube.render()):
            pod = master["spec"]["template"]["spec"]
            (container,) = pod["containers"]
            self.assertEqual(container["readinessProbe"]["httpGet"], {"path": "/readyz", "port": "probe"})
            self.assertEqual(container["livenessProbe"]["httpGet"], {"path": "/livez", "port": "probe"})
            self.assertNotIn("lifecycle", container, "SIGTERM drains; nothing is to wait before it")
            env = {one["name"]: one.get("value") for one in container["env"]}
            self.assertLess(int(env["MUSTER_DRAIN_TIMEOUT"]), pod["terminationGracePeriodSeconds"])
            # A configuration that can't be loaded keeps the pod from becoming ready, and the rollout stops.
            self.assertEqual([found["name"] for found in pod["initContainers"]], ["config", "check"])
            self.assertEqual(pod["initContainers"][1]["args"][0], "checkconfig")

    def test_services_lead_to_masters_of_the_role(self) -> None:
        for values in MATRIX.values():
            resources = kube.render(values)
            pods = [found["spec"]["template"] for found in resources if found["kind"] in ("Deployment", "StatefulSet")]
            for service in (found["spec"] for found in resources if found["kind"] == "Service"):
                chosen = [pod for pod in pods if service["selector"].items() <= pod["metadata"]["labels"].items()]
                self.assertTrue(chosen, service)
                for port in service.get("ports", []):
                    for pod in chosen:
                        names = [found["name"] for each in pod["spec"]["containers"] for found in each["ports"]]
                        self.assertIn(port["targetPort"], names)

    def test_policies_let_in_who_has_to_come(self) -> None:
        for name, values in MATRIX.items():
            resources = kube.render(values)
            pods = [found["spec"]["template"] for found in resources if found["kind"] in ("Deployment", "StatefulSet")]
            rules: dict[tuple[int, str], list[dict[str, Any]]] = {}
            for policy in (found["spec"] for found in resources if found["kind"] == "NetworkPolicy"):
                chosen = [pod for pod in pods if _selects(policy["podSelector"], pod)]
                for rule in policy.get("ingress", []):
                    for pod in chosen:
                        for port in rule["ports"]:
                            self.assertIn(port["port"], _ports(pod), (name, policy))
                            rules.setdefault((id(pod), port["port"]), []).append(rule)
            if not rules:
                self.assertFalse(values["networkPolicy"]["enabled"])
                continue
            for pod in pods:
                for port in _ports(pod):
                    self.assertTrue(rules.get((id(pod), port)), f"{name}: nobody may reach {port}")
            dialers = [pod for pod in pods if _is(pod, "muster/role-gateway") or _is(pod, "app.kubernetes.io/component", "worker")]
            for engine in (pod for pod in pods if _is(pod, "muster/role-engine")):
                for dialer in dialers:
                    self.assertTrue(any(_lets_in(rule, dialer) for rule in rules[id(engine), "session"]), name)

    def test_a_gateway_of_its_own_runs_no_engine(self) -> None:
        groups = {found["metadata"]["name"]: found["spec"] for found in _masters(kube.render(MATRIX["a gateway of its own"]))}
        gateway, engine = groups["ci-muster-gateway"], groups["ci-muster-engine"]
        self.assertEqual(gateway["updateStrategy"], {"type": "OnDelete"})
        self.assertEqual(_ports(gateway["template"]), ["probe", "pb", "msgpack"])
        self.assertEqual(_ports(engine["template"]), ["probe", "session"])
        for spec, roles in ((gateway, "gateway"), (engine, "engine")):
            (container,) = spec["template"]["spec"]["containers"]
            self.assertEqual([one["value"] for one in container["env"] if one["name"] == "MUSTER_ROLES"], [roles])

    def test_a_changed_configuration_replaces_pods(self) -> None:
        marks = [
            master["spec"]["template"]["metadata"]["annotations"]["muster/config"]
            for text in ("c = {}\n", "c = {'title': 'x'}\n")
            for master in _masters(kube.render({"config": {"masterCfg": text}}))
        ]
        self.assertEqual(len(set(marks)), 2)

    def test_the_schema_is_expanded_before_pods_are_replaced(self) -> None:
        for resource in kube.render({}, upgrade=True):
            hook = resource["metadata"].get("annotations", {}).get("helm.sh/hook")
            if resource["kind"] == "Job":
                self.assertEqual(hook, "pre-install,pre-upgrade")
                (volume,) = [found for found in resource["spec"]["template"]["spec"]["volumes"] if found["name"] == "config"]
                self.assertEqual(volume["configMap"]["name"], "ci-muster-migrate", "the new configuration, not the old one")
                self.assertEqual(resource["spec"]["template"]["spec"]["containers"][0]["args"][0], "upgrade-master")
        # The bundled database is there only after the install.
        (job,) = [found for found in kube.render(MATRIX["to try"]) if found["kind"] == "Job"]
        self.assertNotIn("annotations", job["metadata"])

    def test_metrics_that_are_asked_for_are_documented(self) -> None:
        documented = (kube.CHART.parents[1] / "docs" / "metrics.md").read_text()
        texts = [path.read_text() for path in kube.CHART.rglob("*") if path.suffix in (".yaml", ".tpl", ".json")]
        names = {name for text in texts for name in re.findall(r"\bmuster_[a-z_]+\b", text)}
        self.assertTrue(names)
        for name in names:
            self.assertIn(f"`{name}`", documented)


def _is(pod: dict[str, Any], label: str, value: str = "true") -> bool:
    return bool(pod["metadata"]["labels"].get(label) == value)


def _ports(pod: dict[str, Any]) -> list[str]:
    return [port["name"] for container in pod["spec"]["containers"] for port in container.get("ports", [])]


def _selects(selector: dict[str, Any], pod: dict[str, Any]) -> bool:
    return bool(selector.get("matchLabels", {}).items() <= pod["metadata"]["labels"].items())


def _lets_in(rule: dict[str, Any], pod: dict[str, Any]) -> bool:
    peers = [peer for peer in rule.get("from", []) if set(peer) == {"podSelector"}]
    return "from" not in rule or any(_selects(peer["podSelector"], pod) for peer in peers)


def _masters(resources: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for resource in resources:
        if resource.get("spec", {}).get("template", {}).get("metadata", {}).get("labels", {}).get("muster/master"):
            yield resource
