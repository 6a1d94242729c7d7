"""The faults, each with the proof that it took place and that the service went on."""

import random
import signal

from .wait import wait_for

LEADER_DEADLINE_S = 60
PROGRESS_DEADLINE_S = 60
PROGRESS = 15
STORM_KILLS = 12


class Nemesis:
    """Does one fault after the other to an ensemble under load."""

    def __init__(self, ensemble, load, seed):
        self.ensemble = ensemble
        self.load = load
        self.random = random.Random(f"nemesis-{seed}")
        self.done = []

    def kinds(self):
        """The names of the faults that are possible here."""
        kinds = ["kill_leader", "kill_follower", "kill_all", "pause_leader", "kill_two_leaders", "storm"]
        if len(self.ensemble.servers) >= 5:
            kinds.append("kill_minority")
        if self.ensemble.network:
            kinds.append("partition_leader")
        return kinds

    def schedule(self, cycles):
        """Every kind about equally often, in random order."""
        kinds = self.kinds()
        chosen = [kinds[index % len(kinds)] for index in range(cycles)]
        self.random.shuffle(chosen)
        return chosen

    def cycle(self, kind):
        """One fault and its end; afterwards all servers serve and all workers write."""
        self.wait_progress("before the fault")
        getattr(self, kind)()
        self.ensemble.wait_all_serving(LEADER_DEADLINE_S)
        self.wait_progress("after the fault")
        self.ensemble.assert_healthy()
        self.done.append(kind)

    def wait_progress(self, when):
        """Waits until every worker has been acknowledged some more writes."""
        self.load.assert_going()
        before = self.load.acks()

        def progressed():
            self.load.assert_going()
            return all(now >= then + PROGRESS for now, then in zip(self.load.acks(), before))

        def what():
            gained = [now - then for now, then in zip(self.load.acks(), before)]
            return f"writes of every worker {when} (gained {gained}):\n{self.ensemble.log_tails()}"

        wait_for(progressed, PROGRESS_DEADLINE_S, what)

    # --- the faults ------------------------------------------------------------------------------------------------

    def kill_leader(self):
        """kill -9 of the leader: another one takes over, in a new epoch."""
        leader, epoch = self._leader()
        self._kill(leader)
        self._new_leader(leader, epoch)
        self.wait_progress("without the old leader")
        leader.start().wait_serving(LEADER_DEADLINE_S)

    def kill_follower(self):
        """kill -9 of a follower: the leader stays, and so does its epoch."""
        leader, epoch = self._leader()
        follower = self.random.choice([server for server in self.ensemble.servers if server is not leader])
        self._kill(follower)
        self.wait_progress("without a follower")
        follower.start().wait_serving(LEADER_DEADLINE_S)
        assert self._leader() == (leader, epoch), f"the leader changed although only {follower.server_id} was killed"

    def kill_minority(self):
        """kill -9 of as many servers as may be missing, the leader among them."""
        leader, epoch = self._leader()
        others = [server for server in self.ensemble.servers if server is not leader]
        count = (len(self.ensemble.servers) - 1) // 2
        victims = [leader, *self.random.sample(others, count - 1)]
        for victim in victims:
            self._kill(victim)
        self._new_leader(leader, epoch, [server for server in others if server not in victims])
        self.wait_progress("of the majority that is left")
        for victim in victims:
            victim.start()
        for victim in victims:
            victim.wait_serving(LEADER_DEADLINE_S)

    def kill_all(self):
        """kill -9 of every server at once, and a start of all of them."""
        _, epoch = self._leader()
        for server in self.ensemble.servers:
            server.process.send(signal.SIGKILL)
        for server in self.ensemble.servers:
            self._kill(server)
        starting = list(self.ensemble.servers)
        self.random.shuffle(starting)
        for server in starting:
            server.start()
        self.ensemble.wait_all_serving(LEADER_DEADLINE_S)
        self._assert_newer(epoch)

    def kill_two_leaders(self):
        """kill -9 of the leader, and of the next one as soon as there is one; both come back at once."""
        first, epoch = self._leader()
        self._kill(first)
        others = [server for server in self.ensemble.servers if server is not first]
        second = self.ensemble.leader(LEADER_DEADLINE_S, among=others)
        self._kill(second)
        first.start()
        second.start()
        self._assert_newer(epoch)

    def storm(self):
        """Any server is killed and started again as soon as anybody is served, a dozen times over."""
        before = {server.server_id: server.starts for server in self.ensemble.servers}
        for _ in range(STORM_KILLS):
            acks = sum(self.load.acks())
            victim = self.random.choice(self.ensemble.servers)
            self._kill(victim)
            victim.start()
            wait_for(
                lambda then=acks: sum(self.load.acks()) > then,
                PROGRESS_DEADLINE_S,
                lambda: f"a write in the storm:\n{self.ensemble.log_tails()}",
            )
        started = sum(server.starts - before[server.server_id] for server in self.ensemble.servers)
        assert started == STORM_KILLS

    def pause_leader(self):
        """SIGSTOP of the leader until another one leads and serves, then SIGCONT: it must follow."""
        leader, epoch = self._leader()
        leader.pause()
        try:
            self._new_leader(leader, epoch)
            self.wait_progress("while the old leader is stopped")
        finally:
            leader.resume()
        wait_for(lambda: leader.mode() == "follower", LEADER_DEADLINE_S, "the old leader to follow")

    def partition_leader(self):
        """The leader loses every other server, but no client: the others go on, and it stops leading."""
        leader, epoch = self._leader()
        network = self.ensemble.network
        network.isolate(leader.server_id)
        try:
            self._new_leader(leader, epoch)
            self.wait_progress("while the old leader is cut off")
            wait_for(lambda: leader.mode() != "leader", LEADER_DEADLINE_S, "the cut off leader to step down")
        finally:
            dropped = network.heal(leader.server_id)
        assert dropped > 0, "the partition swallowed nothing"
        wait_for(lambda: leader.mode() == "follower", LEADER_DEADLINE_S, "the old leader to follow")

    # --- what they share -------------------------------------------------------------------------------------------

    def _leader(self):
        """The leader and its epoch."""
        leader = self.ensemble.leader(LEADER_DEADLINE_S)
        return leader, leader.zxid() >> 32

    def _kill(self, server):
        server.kill()
        code = server.process.exit_code()
        assert code == -signal.SIGKILL, f"server {server.server_id} had ended with {code}:\n{server.log_tail()}"

    def _new_leader(self, old, epoch, among=None):
        others = among or [server for server in self.ensemble.servers if server is not old]
        self.ensemble.leader(LEADER_DEADLINE_S, among=others)
        self._assert_newer(epoch, among=others)

    def _assert_newer(self, epoch, among=None):
        """Waits until a leader's zxid is of a later epoch: `srvr` shows it with the first write."""

        def newer():
            leader = self.ensemble.leader_now(among)
            return leader and (leader.zxid() or 0) >> 32 > epoch

        wait_for(newer, LEADER_DEADLINE_S, f"a leader of an epoch after {epoch}")
