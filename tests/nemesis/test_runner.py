"""A failure is told with all that went wrong after it, whatever that is."""

from types import SimpleNamespace

from nemesis import runner


class BrokenCluster:
    """Nothing works with it, not even its end."""

    servers = (SimpleNamespace(server_id=1), SimpleNamespace(server_id=2))

    def __init__(self, *_):
        def close():
            raise RuntimeError("the servers stay")

        self.ensemble = SimpleNamespace(close=close)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        raise RuntimeError("the mounts stay")

    def leader_and_epoch(self):
        raise AssertionError("what happened first")

    def volume(self, server):
        raise RuntimeError(f"disk {server.server_id} does not answer")


class BrokenLoad:
    """It does not end."""

    def __init__(self, *_):
        pass

    def abandon(self):
        raise RuntimeError("the load stays")


def test_no_failure_hides_the_one_before(monkeypatch, tmp_path):
    monkeypatch.setattr(runner.cluster, "Cluster", BrokenCluster)
    monkeypatch.setattr(runner.load, "AllLoad", BrokenLoad)
    plan = runner.Plan(1, cycles=9, minutes=1, sizes=[3], names=["kill_all"])
    wrong = runner.run(plan, tmp_path, lambda line: None).wrong
    told = ["what happened first", "the load stays", "the servers stay", "disk 1 does", "disk 2 does", "the mounts stay"]
    assert len(wrong) == len(told)
    assert all(words in text for words, text in zip(told, wrong)), wrong
