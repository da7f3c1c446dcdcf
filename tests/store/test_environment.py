"""An environment is stable, and hardware is told from software."""

import subprocess

import numpy as np

from xbench.store.environment import environment, hardware_id


def test_environment_is_stable_and_json(store):
    first = environment(devices=["GPU A"], threads=2)
    assert store.save_environment(first) == store.save_environment(environment(devices=["GPU A"], threads=2))
    assert first["hardware"]["devices"] == ["GPU A"]
    assert first["python"].count(".") == 2
    assert first["packages"]["numpy"] == np.__version__


def test_hardware_id_sees_hardware_alone():
    base = environment(threads=2)
    assert hardware_id(base) == hardware_id(base | {"git": None, "python": "4.0"})
    assert hardware_id(base) != hardware_id(environment(threads=1))
    assert hardware_id(base) != hardware_id(environment(threads=2, devices=["GPU A"]))


def test_git_state_is_the_commit_and_changes_of_tracked_files(tmp_path):
    assert environment(directory=tmp_path)["git"] is None
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]

    def git(*arguments):
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    git("init")
    assert environment(directory=tmp_path)["git"] is None  # no commit yet
    (tmp_path / "a.txt").write_text("1")
    git("add", "a.txt")
    git("commit", "--no-verify", "-m", "one")
    state = environment(directory=tmp_path)["git"]
    assert len(state["commit"]) == 40
    assert state["dirty"] is False
    (tmp_path / "results.json").write_text("untracked")
    assert environment(directory=tmp_path)["git"] == state
    (tmp_path / "a.txt").write_text("2")
    assert environment(directory=tmp_path)["git"] == state | {"dirty": True}
