"""Checks and adapts Hydra's launchers, which run the jobs of a sweep in other processes and on other machines."""

import multiprocessing
import os
import socket
import sys
from collections.abc import Callable, Sequence

from omegaconf import DictConfig

from xbench.boundary.redact import is_secret
from xbench.config.nodes import ConfigError

GROUP = "hydra/launcher"
_PLUGINS = {  # option -> the plugin's option that it builds on, and the extra of xbench that installs the plugin
    "joblib": ("joblib", "joblib"),
    "submitit_local": ("submitit_local", "submitit"),
    "submitit_slurm": ("submitit_slurm", "submitit"),
    "slurm": ("submitit_slurm", "submitit"),
    "ray": ("ray", "ray"),
    "ray_cluster": ("ray", "ray"),
}
_VARIABLES = ("XBENCH_", "HF_", "TRANSFORMERS_", "TORCH_HOME", "PYTHONPATH")


def check_installed(name: str, options: Sequence[str]) -> None:
    """Raise ConfigError with advice if the plugin of a launcher's option is not among the installed `options`."""
    needs, extra = _PLUGINS.get(name, (None, None))
    if needs is not None and needs not in options:
        raise ConfigError(f"{GROUP}={name} needs a plugin that is not installed: pip install 'xbench[{extra}]'")


def check_sweep(hydra: DictConfig, sweeps: bool) -> None:
    """Raise ConfigError if a launcher is set without a sweep, because Hydra would ignore it."""
    if not here(hydra.launcher) and not sweeps:
        raise ConfigError(
            f"{GROUP}={hydra.runtime.choices[GROUP]} runs the jobs of a sweep, and this is one job: add -m, as in "
            "algorithm=ig,deeplift -m; a job uses several devices by run.devices"
        )


def here(launcher: DictConfig) -> bool:
    """Whether jobs run in the driver's process."""
    return str(launcher._target_).endswith(".BasicLauncher")


def beside(launcher: DictConfig, jobs: int) -> int:
    """The number of other jobs of the command that may be busy on the same processor as a timed job."""
    kind = str(launcher._target_).rpartition(".")[2]
    if kind in (
        "BasicLauncher",
        "SlurmLauncher",
    ):  # one job at a time, or each on its own processors
        return 0
    at_once = jobs
    if kind == "JoblibLauncher":
        cores = os.cpu_count() or 1
        at_once = launcher.n_jobs if launcher.n_jobs > 0 else max(1, cores + 1 + launcher.n_jobs)
    return min(jobs, at_once) - 1


def elsewhere(publish: Callable[[], None]) -> Callable[[DictConfig], None]:
    """Hydra's task function for another process, with the same paths and environment variables as here.

    It is written to files on the way, so secrets are omitted: the other process has its own, or reports that they are
    missing. `session.job` describes `publish`.
    """
    folder, path = os.getcwd(), list(sys.path)
    ours = {name: value for name, value in os.environ.items() if name.startswith(_VARIABLES)}
    variables = {name: value for name, value in ours.items() if not is_secret(name)}
    secrets = [name for name in ours if is_secret(name)]

    def task(cfg: DictConfig) -> None:  # pickled by value, so that it works before xbench is on the path
        try:
            os.chdir(folder)
        except OSError as error:
            what = f"the folder {folder}, where the command was typed, cannot be opened on {socket.gethostname()}"
            raise RuntimeError(f"{what}: {error.strerror}; type it in a folder that all machines see") from error
        os.environ.update(variables)
        sys.path.extend(place for place in path if place not in sys.path)
        if multiprocessing.get_start_method() == "loky":  # joblib's start method, which processes of a pool cannot use
            multiprocessing.set_start_method("spawn", force=True)
        from xbench.boundary.printable import say
        from xbench.cli.session import job

        for name in secrets:
            if name not in os.environ:
                where = f"{name}, set where the command was typed, is not set on {socket.gethostname()}"
                say(f"{where}, and is not sent; set it there if private models are needed")
        job(cfg, publish)

    return task
