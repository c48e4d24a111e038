"""Commands in the guides: variables are set before they are used, and the parts are consistent."""

import re
import tomllib
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from service import settings
from service.files import DEFAULT_SETTINGS

ROOT = Path(__file__).parents[2]
NAME = re.compile(r"CDR_API_[A-Z0-9]+(?:_?[A-Z0-9])*(?:__[A-Z0-9_]*[A-Z0-9])*")


def blocks(guide: str) -> list[str]:
    """What is typed, block by block; those of other languages are left out."""
    text = (ROOT / "docs" / guide).read_text(encoding="utf-8")
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [block for language, block in found if not language]


def test_the_integration_guide_uses_variables_only_once_they_are_set() -> None:
    sample = set(NAME.findall((ROOT / "config" / "cdr-api.env").read_text()))
    defined, used = set[str](), 0
    text = (ROOT / "docs" / "integration.md").read_text(encoding="utf-8")
    defined |= set(re.findall(r"`([A-Z]+)=\S+`", text[: text.index("## 1.")]))
    for block in blocks("integration.md"):
        for line in block.splitlines():
            if ". /etc/cdr-api.env" in line:
                defined |= sample
            defined |= set(re.findall(r"(?:^|for )(\w+)(?:=| in )", line.strip()))
            named = set(re.findall(r"\$\{?([A-Za-z]\w*)", line))
            assert named <= defined, line
            used += len(named)
    assert used > 10


def manifests() -> list[dict[str, Any]]:
    text = (ROOT / "docs" / "kubernetes.md").read_text(encoding="utf-8")
    [found] = re.findall(r"^```yaml\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return list(YAML(typ="safe").load_all(found))


def test_the_parts_on_kubernetes_fit_together() -> None:
    deployment, service, monitor = manifests()
    pod = deployment["spec"]["template"]
    [container] = pod["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    defaults = tomllib.loads(DEFAULT_SETTINGS.read_text())
    assert ports == {"http": defaults["listen"]["port"], "admin": defaults["admin"]["port"]}
    assert {port["name"]: port["port"] for port in service["spec"]["ports"]} == ports
    assert service["spec"]["selector"] == pod["metadata"]["labels"] == deployment["spec"]["selector"]["matchLabels"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert service["metadata"]["labels"][monitor["spec"]["jobLabel"]] == "cdr-api"
    assert {container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness")} == {"/live"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/ready", "port": "admin"}
    assert pod["spec"]["terminationGracePeriodSeconds"] > defaults["listen"]["shutdown_timeout"] + 5
    assert str(pod["spec"]["securityContext"]["runAsUser"]) in (ROOT / "Dockerfile").read_text()
    given = {variable["name"]: variable["value"] for variable in container["env"]}
    assert settings.load(None, given).admin.host == "0.0.0.0"  # Only pods reach it.
