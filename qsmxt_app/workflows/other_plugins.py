"""Running a graph with one of nipype's own plugins instead of ours."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

from qsmxt_app.errors import WrongUsage
from qsmxt_app.settings import Settings
from qsmxt_app.settings.text import nearest
from qsmxt_app.workflows.node_base import FACTS_FILE, FAILURE_FILE, read_json

MULTIPROC = "MultiProc"
PLUGINS = (MULTIPROC, "Linear", "SLURM", "SLURMGraph", "PBS", "PBSGraph", "SGE", "SGEGraph", "LSF", "OAR")

log = logging.getLogger("qsmxt")


def read_plugin(settings: Settings) -> tuple[str, dict[str, Any]]:
    """Return the name and the arguments of the plugin that the settings ask for.

    Raises
    ------
    WrongUsage
        The plugin does not exist, or its file cannot be understood.
    """
    content: Any = {}
    if settings.nipype_plugin_file:
        content = _read(settings.nipype_plugin_file)
    name = content.get("plugin", settings.nipype_plugin)
    if name not in PLUGINS:
        raise WrongUsage(f"--nipype-plugin {name} does not exist.", nearest(str(name), PLUGINS))
    return name, dict(content.get("plugin_args") or {})


def run_with_plugin(
    workflow: Any, plugin: str, arguments: dict[str, Any]
) -> tuple[frozenset[str], dict[str, str]]:
    """Run a graph to its end.

    Returns
    -------
    ended
        Full names of the nodes that have results.
    failures
        Full names and messages of those that have none.
    """
    # some plugins of nipype name their jobs after it
    os.environ.setdefault("LOGNAME", str(os.getuid()))
    message = "failed without a message: see the crash file beside the log"
    try:
        workflow.run(plugin=plugin, plugin_args=arguments)
    except Exception as error:  # the plugins raise whatever the first failed node raised
        log.exception("%s", workflow.name)
        message = f"{message} ({type(error).__name__})"
    ended, failures = set(), {}
    for name in workflow.list_node_names():
        folder = Path(workflow.base_dir, workflow.name, *name.split("."))
        full = f"{workflow.name}.{name}"
        if (folder / FAILURE_FILE).exists():
            failures[full] = str(read_json(folder / FAILURE_FILE).get("message", message))
        elif (folder / FACTS_FILE).exists():
            ended.add(full)
    if len(ended) < len(workflow.list_node_names()) and not failures:
        first = next(name for name in workflow.list_node_names() if f"{workflow.name}.{name}" not in ended)
        failures[f"{workflow.name}.{first}"] = message
    return frozenset(ended), failures


def _read(path: Path) -> dict[str, Any]:
    text = path.read_text(encoding="utf-8")
    try:
        content = json.loads(text)
    except ValueError:
        import yaml

        try:
            content = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise WrongUsage(
                f"--nipype-plugin-file {path} is neither YAML nor JSON.", "Correct it."
            ) from error
    if not isinstance(content, dict):
        raise WrongUsage(f"--nipype-plugin-file {path} holds no 'plugin' and 'plugin_args'.", "Correct it.")
    return content
