"""The chart, rendered by Helm's own library, and what Kubernetes says about the result."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any, Iterator

import helm_python as helm
import jsonschema
import kubernetes_validate
import yaml

# Each call reads megabytes of schemas.
kubernetes_validate.utils.schema_contents = functools.cache(kubernetes_validate.utils.schema_contents)

CHART = Path(__file__).parents[2] / "helm" / "muster"

#: Fields of resources that are no part of Kubernetes, as far as the chart writes them. A field of the chart that is not
#: here is refused, so that it is looked up in the operator's own reference before it is added.
_NAMES = {"type": "object", "additionalProperties": {"type": "string"}}
_METADATA = {"type": "object", "required": ["name", "labels"]}


def _resource(spec: dict[str, Any], required: list[str]) -> dict[str, Any]:
    spec = {"type": "object", "additionalProperties": False, "required": required, "properties": spec}
    return {"type": "object", "required": ["metadata", "spec"], "properties": {"metadata": _METADATA, "spec": spec}}


def _items(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    item = {"type": "object", "additionalProperties": False, "required": required, "properties": properties}
    return {"type": "array", "minItems": 1, "items": item}


_TEXT = {"type": "string", "minLength": 1}
_DURATION = {"type": "string", "pattern": "^[0-9]+(ms|s|m|h)$"}
_RULES = _items(
    {"alert": _TEXT, "expr": _TEXT, "for": _DURATION, "labels": _NAMES, "annotations": _NAMES},
    ["alert", "expr", "for", "labels", "annotations"],
)
_TRIGGERS = _items(
    {"type": {"const": "prometheus"}, "metricType": {"enum": ["AverageValue", "Value"]}, "metadata": _NAMES},
    ["type", "metadata"],
)
_COUNT = {"type": "integer", "minimum": 0}
_TARGET = {"type": "object", "required": ["apiVersion", "kind", "name"], "additionalProperties": _TEXT}
CUSTOM = {
    "ServiceMonitor": _resource(
        {
            "selector": {"type": "object", "additionalProperties": False, "properties": {"matchLabels": _NAMES}},
            "endpoints": _items({"port": _TEXT, "path": _TEXT, "interval": _DURATION}, ["port", "path"]),
        },
        ["selector", "endpoints"],
    ),
    "PrometheusRule": _resource({"groups": _items({"name": _TEXT, "rules": _RULES}, ["name", "rules"])}, ["groups"]),
    "ScaledObject": _resource(
        {
            "scaleTargetRef": _TARGET,
            "minReplicaCount": _COUNT,
            "maxReplicaCount": _COUNT,
            "cooldownPeriod": _COUNT,
            "triggers": _TRIGGERS,
        },
        ["scaleTargetRef", "triggers"],
    ),
}


def render(values: dict[str, Any] | None = None, upgrade: bool = False) -> list[dict[str, Any]]:
    """All resources of a release `ci` in the namespace `builds`."""
    kind = {"is_upgrade": True, "is_install": False, "revision": 2} if upgrade else {}
    with helm.Chart.load(CHART) as chart:
        texts = chart.render(values or {}, name="ci", namespace="builds", **kind)
    return list(_resources(texts))


def _resources(texts: dict[str, str]) -> Iterator[dict[str, Any]]:
    for path, text in texts.items():
        if path.endswith(".yaml"):
            yield from (resource for resource in yaml.load_all(text, Loader=_Strict) if resource)


class _Strict(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML's loader takes the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=deep) for key, _ in node.value]
        twice = {key for key in keys if keys.count(key) > 1}
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"twice: {sorted(twice)}", node.start_mark)
        return super().construct_mapping(node, deep)


def refusal(values: dict[str, Any]) -> str:
    """What Helm says about values that it refuses."""
    try:
        render(values)
    except helm.HelmError as error:
        return str(error)
    raise AssertionError(f"{json.dumps(values)} was not refused")


def validate(resource: dict[str, Any], version: str) -> None:
    """Against the schema of that release of Kubernetes, strictly: unknown fields are errors."""
    custom = CUSTOM.get(resource["kind"])
    if custom:
        jsonschema.validate(resource, custom)
    else:
        kubernetes_validate.validate(resource, version, strict=True)


def containers(resource: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Those of all pods that the resource makes."""
    spec = resource.get("spec", {}).get("template", {}).get("spec", {})
    yield from spec.get("initContainers", [])
    yield from spec.get("containers", [])
