import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.TreeSet;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.apache.zookeeper.AddWatchMode;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.KeeperException.Code;
import org.apache.zookeeper.Op;
import org.apache.zookeeper.OpResult;
import org.apache.zookeeper.WatchedEvent;
import org.apache.zookeeper.Watcher;
import org.apache.zookeeper.Watcher.Event.EventType;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.Watcher.WatcherType;
import org.apache.zookeeper.ZooDefs.Ids;
import org.apache.zookeeper.ZooDefs.Perms;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.client.ZKClientConfig;
import org.apache.zookeeper.data.ACL;
import org.apache.zookeeper.data.ClientInfo;
import org.apache.zookeeper.data.Id;
import org.apache.zookeeper.data.Stat;

/** What the Java client 3.9 can do and its command line does not. */
public final class Operations {
    private static final int SESSION_MS = 15000;
    private static final byte[] NONE = null;
    private static final List<ACL> OPEN = Ids.OPEN_ACL_UNSAFE;

    private final String servers;
    private final ZooKeeper mine;
    private final ZooKeeper other;

    private Operations(String servers) throws Exception {
        this.servers = servers;
        mine = connected(servers);
        other = connected(servers);
    }

    private static ZooKeeper connected(String servers) throws Exception {
        Events events = new Events();
        ZooKeeper client = new ZooKeeper(servers, SESSION_MS, events);
        Checks.equal("None null SyncConnected", events.next());
        return client;
    }

    /** The events of one watcher, each as a line. */
    private static final class Events implements Watcher {
        private final BlockingQueue<WatchedEvent> queue = new LinkedBlockingQueue<>();
        /** The zxid of the last one that was taken. */
        long zxid;

        @Override
        public void process(WatchedEvent event) {
            queue.add(event);
        }

        /** Type, path and, where it is about the connection, state. */
        String next() throws InterruptedException {
            WatchedEvent event = Checks.next(queue);
            zxid = event.getZxid();
            String state = event.getType() == EventType.None ? " " + event.getState() : "";
            return event.getType() + " " + event.getPath() + state;
        }

        /** The next one that is not about the connection. */
        String nextOfNode() throws InterruptedException {
            String event = next();
            while (event.startsWith("None ")) {
                event = next();
            }
            return event;
        }

        /** Waits for this state of the connection; events of znodes are passed over. */
        void await(KeeperState state) throws InterruptedException {
            while (!next().equals("None null " + state)) {
                continue;
            }
        }
    }

    public static void main(String[] arguments) throws Exception {
        Operations operations = new Operations(arguments[0]);
        Checks.check("versions and error codes", operations::errors);
        Checks.check("modes of create", operations::modes);
        Checks.check("null and empty data", operations::nothing);
        Checks.check("multi of every kind", operations::multi);
        Checks.check("multi that fails", operations::multiFails);
        Checks.check("multi of modes", operations::multiModes);
        Checks.check("multi that reads", operations::multiRead);
        Checks.check("access lists", operations::accessLists);
        Checks.check("one-shot watches", operations::oneShot);
        Checks.check("persistent watches", operations::persistent);
        Checks.check("persistent recursive watches", operations::recursive);
        Checks.check("watches taken away", operations::removeWatches);
        Checks.check("counts and ephemerals", operations::counts);
        Checks.check("who am I", operations::whoAmI);
        Checks.check("configuration", operations::configuration);
        Checks.check("replies in the order of requests", operations::pipelined);
        Checks.check("chroot", operations::chroot);
        Checks.check("read-only is allowed", operations::readOnlyAllowed);
        Checks.check("a session moves", operations::sessionMoves);
        Checks.check("a wrong password", operations::wrongPassword);
        Checks.check("watches on another server", operations::watchesMove);
        Checks.check("watches taken away while nobody serves", operations::removeLocally);
        Checks.check("acknowledged writes outlive the leader", operations::leaderKilled);
        operations.mine.close();
        operations.other.close();
        Checks.finish();
    }

    private static Code codeOf(Checks.Body body) throws Exception {
        return Checks.throwsA(KeeperException.class, body).code();
    }

    private String made(String path) throws Exception {
        return mine.create(path, Checks.bytes("data"), OPEN, CreateMode.PERSISTENT);
    }

    private void errors() throws Exception {
        made("/errors");
        made("/errors/child");
        Checks.equal(Code.NODEEXISTS, codeOf(() -> made("/errors")));
        Checks.equal(Code.NONODE, codeOf(() -> made("/errors/none/child")));
        Checks.equal(Code.NOTEMPTY, codeOf(() -> mine.delete("/errors", -1)));
        Checks.equal(Code.BADVERSION, codeOf(() -> mine.delete("/errors/child", 1)));
        Checks.equal(Code.BADVERSION, codeOf(() -> mine.setData("/errors", NONE, 1)));
        Checks.equal(Code.NONODE, codeOf(() -> mine.getData("/errors/none", false, null)));
        Checks.equal(Code.NONODE, codeOf(() -> mine.getChildren("/errors/none", false)));
        Checks.equal(null, mine.exists("/errors/none", false));
        Checks.equal(Code.INVALIDACL,
                codeOf(() -> mine.create("/errors/acl", NONE, Collections.emptyList(), CreateMode.PERSISTENT)));
        mine.create("/errors/e", NONE, OPEN, CreateMode.EPHEMERAL);
        Checks.equal(Code.NOCHILDRENFOREPHEMERALS, codeOf(() -> made("/errors/e/child")));
        Stat set = mine.setData("/errors", Checks.bytes("longer"), 0);
        Checks.equal(1, set.getVersion());
        Checks.equal(6, set.getDataLength());
        Checks.equal(2, set.getNumChildren());
        Checks.equal(2, set.getCversion());
        Stat read = new Stat();
        Checks.equal("longer", Checks.text(mine.getData("/errors", false, read)));
        Checks.equal(set, read);
        Checks.equal(Arrays.asList("child", "e"), sorted(mine.getChildren("/errors", false)));
        mine.delete("/errors/child", 0);
    }

    private void modes() throws Exception {
        made("/modes");
        Stat stat = new Stat();
        Checks.equal("/modes/c", mine.create("/modes/c", NONE, OPEN, CreateMode.CONTAINER, stat));
        Checks.equal(0L, stat.getEphemeralOwner());
        CreateMode ttl = CreateMode.PERSISTENT_WITH_TTL;
        Checks.equal("/modes/t", mine.create("/modes/t", NONE, OPEN, ttl, stat, 3600_000));
        Checks.equal(0L, stat.getEphemeralOwner());
        CreateMode sequence = CreateMode.PERSISTENT_SEQUENTIAL_WITH_TTL;
        Checks.equal("/modes/s0000000002", mine.create("/modes/s", NONE, OPEN, sequence, stat, 1_000_000));
        Checks.equal(0L, stat.getEphemeralOwner());
        CreateMode both = CreateMode.EPHEMERAL_SEQUENTIAL;
        Checks.equal("/modes/e0000000003", mine.create("/modes/e", NONE, OPEN, both, stat));
        Checks.equal(mine.getSessionId(), stat.getEphemeralOwner());
        Checks.equal(stat, mine.exists("/modes/e0000000003", false));
        Checks.equal("/modes/p0000000004", mine.create("/modes/p", NONE, OPEN, CreateMode.PERSISTENT_SEQUENTIAL));
    }

    private void nothing() throws Exception {
        mine.create("/nothing", NONE, OPEN, CreateMode.PERSISTENT);
        Stat stat = new Stat();
        Checks.equal(null, mine.getData("/nothing", false, stat));
        Checks.equal(0, stat.getDataLength());
        mine.setData("/nothing", new byte[0], -1);
        Checks.equal(new byte[0], mine.getData("/nothing", false, stat));
        mine.setData("/nothing", NONE, -1);
        Checks.equal(null, mine.getData("/nothing", false, stat));
        Checks.equal(2, stat.getVersion());
    }

    private void multi() throws Exception {
        made("/multi");
        List<OpResult> results = mine.multi(Arrays.asList(
                Op.create("/multi/a", Checks.bytes("a"), OPEN, CreateMode.PERSISTENT),
                Op.create("/multi/s", NONE, OPEN, CreateMode.EPHEMERAL_SEQUENTIAL),
                Op.setData("/multi/a", Checks.bytes("ab"), 0),
                Op.check("/multi/a", 1),
                Op.delete("/multi/a", 1),
                Op.create("/multi/a", NONE, OPEN, CreateMode.PERSISTENT)));
        Checks.equal("/multi/a", ((OpResult.CreateResult) results.get(0)).getPath());
        Checks.equal("/multi/s0000000001", ((OpResult.CreateResult) results.get(1)).getPath());
        Stat set = ((OpResult.SetDataResult) results.get(2)).getStat();
        Checks.equal(2, set.getDataLength());
        Checks.equal(1, set.getVersion());
        Checks.equal(set.getCzxid(), set.getMzxid());
        Checks.holds(results.get(3) instanceof OpResult.CheckResult, "check");
        Checks.holds(results.get(4) instanceof OpResult.DeleteResult, "delete");
        Stat now = mine.exists("/multi/a", false);
        Checks.equal(0, now.getVersion());
        Checks.equal(set.getCzxid(), now.getCzxid());
        Checks.equal(4, mine.exists("/multi", false).getCversion());
        Checks.equal(Collections.emptyList(), mine.multi(Collections.emptyList()));
    }

    private static List<Integer> codesOf(List<OpResult> results) {
        List<Integer> codes = new ArrayList<>();
        for (OpResult result : results) {
            codes.add(result instanceof OpResult.ErrorResult ? ((OpResult.ErrorResult) result).getErr() : null);
        }
        return codes;
    }

    private void multiFails() throws Exception {
        made("/fails");
        KeeperException error = Checks.throwsA(KeeperException.class, () -> mine.multi(Arrays.asList(
                Op.create("/fails/a", NONE, OPEN, CreateMode.PERSISTENT),
                Op.delete("/fails/none", -1),
                Op.setData("/fails", NONE, 7),
                Op.check("/fails", 0))));
        Checks.equal(Code.NONODE, error.code());
        int after = Code.RUNTIMEINCONSISTENCY.intValue();
        Checks.equal(Arrays.asList(0, Code.NONODE.intValue(), after, after), codesOf(error.getResults()));
        Checks.equal(0, mine.exists("/fails", false).getCversion());
        Checks.equal(Code.BADVERSION, codeOf(() -> mine.transaction().check("/fails", 3).commit()));
        Checks.equal(Code.NODEEXISTS, codeOf(() -> mine.transaction()
                .create("/fails", NONE, OPEN, CreateMode.PERSISTENT).commit()));
        Checks.equal(Code.NOTEMPTY, codeOf(() -> mine.transaction()
                .create("/fails/a", NONE, OPEN, CreateMode.PERSISTENT).delete("/fails", -1).commit()));
    }

    private void multiModes() throws Exception {
        made("/multimodes");
        mine.multi(Arrays.asList(
                Op.create("/multimodes/c", NONE, OPEN, CreateMode.CONTAINER),
                Op.create("/multimodes/t", NONE, OPEN, CreateMode.PERSISTENT_WITH_TTL, 3600_000),
                Op.create("/multimodes/s", NONE, OPEN, CreateMode.PERSISTENT_SEQUENTIAL_WITH_TTL, 3600_000),
                Op.create("/multimodes/e", NONE, OPEN, CreateMode.EPHEMERAL)));
        Checks.equal(Arrays.asList("c", "e", "s0000000002", "t"), sorted(mine.getChildren("/multimodes", false)));
        Checks.equal(0L, mine.exists("/multimodes/c", false).getEphemeralOwner());
        Checks.equal(0L, mine.exists("/multimodes/t", false).getEphemeralOwner());
        Checks.equal(mine.getSessionId(), mine.exists("/multimodes/e", false).getEphemeralOwner());
    }

    private void multiRead() throws Exception {
        made("/reads");
        made("/reads/child");
        List<OpResult> results = mine.multi(Arrays.asList(
                Op.getData("/reads"), Op.getChildren("/reads"), Op.getData("/reads/none"), Op.getChildren("/reads/child")));
        OpResult.GetDataResult data = (OpResult.GetDataResult) results.get(0);
        Checks.equal("data", Checks.text(data.getData()));
        Checks.equal(1, data.getStat().getNumChildren());
        Checks.equal(Arrays.asList("child"), ((OpResult.GetChildrenResult) results.get(1)).getChildren());
        Checks.equal(Code.NONODE.intValue(), ((OpResult.ErrorResult) results.get(2)).getErr());
        Checks.equal(Collections.emptyList(), ((OpResult.GetChildrenResult) results.get(3)).getChildren());
    }

    private void accessLists() throws Exception {
        ZooKeeper owner = connected(servers);
        owner.addAuthInfo("digest", Checks.bytes("me:secret"));
        owner.create("/acl", Checks.bytes("mine"), Ids.CREATOR_ALL_ACL, CreateMode.PERSISTENT);
        Stat stat = new Stat();
        List<ACL> list = owner.getACL("/acl", stat);
        Checks.equal(1, list.size());
        Checks.equal("digest", list.get(0).getId().getScheme());
        Checks.holds(list.get(0).getId().getId().matches("me:.{27}="), list.toString());
        other.sync("/acl");
        Checks.equal(Code.NOAUTH, codeOf(() -> other.getData("/acl", false, null)));
        Checks.equal(Code.NOAUTH, codeOf(() -> other.setData("/acl", NONE, -1)));
        Checks.equal(Code.NOAUTH, codeOf(() -> other.create("/acl/c", NONE, OPEN, CreateMode.PERSISTENT)));
        Checks.equal(Code.NOAUTH, codeOf(() -> other.setACL("/acl", OPEN, -1)));
        Checks.equal(Code.NOAUTH, codeOf(() -> other.multi(Arrays.asList(Op.setData("/acl", NONE, -1)))));
        List<OpResult> read = other.multi(Arrays.asList(Op.getData("/acl")));
        Checks.equal(Code.NOAUTH.intValue(), ((OpResult.ErrorResult) read.get(0)).getErr());
        Checks.equal(Code.BADVERSION, codeOf(() -> owner.setACL("/acl", OPEN, 1)));
        List<ACL> readers = Arrays.asList(
                new ACL(Perms.READ, Ids.ANYONE_ID_UNSAFE), new ACL(Perms.ALL, list.get(0).getId()));
        Checks.equal(1, owner.setACL("/acl", readers, 0).getAversion());
        other.sync("/acl");
        Checks.equal("mine", Checks.text(other.getData("/acl", false, null)));
        Checks.equal("me:x", other.getACL("/acl", stat).get(1).getId().getId());
        Checks.equal(Code.INVALIDACL, codeOf(() -> owner.setACL("/acl",
                Arrays.asList(new ACL(Perms.ALL, new Id("nonsense", "x"))), -1)));
        owner.close();
    }

    private void oneShot() throws Exception {
        Events data = new Events();
        Events children = new Events();
        Events absent = new Events();
        made("/shot");
        mine.getData("/shot", data, null);
        mine.getChildren("/shot", children);
        Checks.equal(null, mine.exists("/shot/c", absent));
        other.create("/shot/c", NONE, OPEN, CreateMode.PERSISTENT);
        Checks.equal("NodeCreated /shot/c", absent.next());
        Checks.equal(mine.exists("/shot/c", data).getCzxid(), absent.zxid);
        Checks.equal("NodeChildrenChanged /shot", children.next());
        other.setData("/shot", NONE, -1);
        Stat changed = other.setData("/shot", NONE, -1);
        Checks.equal("NodeDataChanged /shot", data.next());
        Checks.equal(changed.getMzxid() - 1, data.zxid);
        mine.getChildren("/shot/c", children);
        other.delete("/shot/c", -1);
        Checks.equal("NodeDeleted /shot/c", data.next());
        Checks.equal("NodeDeleted /shot/c", children.next());
        mine.sync("/shot");
        Checks.equal(0, data.queue.size() + children.queue.size() + absent.queue.size());
    }

    private void persistent() throws Exception {
        Events events = new Events();
        mine.addWatch("/persistent", events, AddWatchMode.PERSISTENT);
        for (int round = 0; round < 2; round++) {
            other.create("/persistent", NONE, OPEN, CreateMode.PERSISTENT);
            other.setData("/persistent", NONE, -1);
            other.create("/persistent/c", NONE, OPEN, CreateMode.PERSISTENT);
            other.setData("/persistent/c", NONE, -1);
            other.delete("/persistent/c", -1);
            other.delete("/persistent", -1);
            for (String type : Arrays.asList("NodeCreated", "NodeDataChanged", "NodeChildrenChanged",
                    "NodeChildrenChanged", "NodeDeleted")) {
                Checks.equal(type + " /persistent", events.next());
            }
        }
        Checks.equal(0, events.queue.size());
    }

    private void recursive() throws Exception {
        Events events = new Events();
        mine.addWatch("/recursive", events, AddWatchMode.PERSISTENT_RECURSIVE);
        other.create("/recursive", NONE, OPEN, CreateMode.PERSISTENT);
        other.create("/recursive-not", NONE, OPEN, CreateMode.PERSISTENT);
        other.create("/recursive/a", NONE, OPEN, CreateMode.PERSISTENT);
        other.create("/recursive/a/b", NONE, OPEN, CreateMode.PERSISTENT);
        other.setData("/recursive/a/b", NONE, -1);
        Stat set = other.setData("/recursive/a/b", NONE, -1);
        other.delete("/recursive/a/b", -1);
        for (String event : Arrays.asList("NodeCreated /recursive", "NodeCreated /recursive/a",
                "NodeCreated /recursive/a/b", "NodeDataChanged /recursive/a/b", "NodeDataChanged /recursive/a/b")) {
            Checks.equal(event, events.next());
        }
        Checks.equal(set.getMzxid(), events.zxid);
        Checks.equal("NodeDeleted /recursive/a/b", events.next());
        Checks.equal(0, events.queue.size());
    }

    private void removeWatches() throws Exception {
        made("/removed");
        Events data = new Events();
        Events children = new Events();
        Events stays = new Events();
        Events deep = new Events();
        Events all = new Events();
        mine.getData("/removed", data, null);
        mine.getChildren("/removed", children);
        mine.addWatch("/removed", stays, AddWatchMode.PERSISTENT);
        mine.addWatch("/removed", deep, AddWatchMode.PERSISTENT_RECURSIVE);
        Checks.equal(Code.NOWATCHER, codeOf(() -> mine.removeWatches("/removed", children, WatcherType.Data, false)));
        Checks.equal(Code.NOWATCHER, codeOf(() -> mine.removeWatches("/removed/x", data, WatcherType.Any, false)));
        mine.removeWatches("/removed", data, WatcherType.Data, false);
        Checks.equal("DataWatchRemoved /removed", data.next());
        mine.removeWatches("/removed", children, WatcherType.Children, false);
        Checks.equal("ChildWatchRemoved /removed", children.next());
        other.create("/removed/first", NONE, OPEN, CreateMode.PERSISTENT);
        Checks.equal("NodeChildrenChanged /removed", stays.next());
        Checks.equal("NodeCreated /removed/first", deep.next());
        mine.removeWatches("/removed", deep, WatcherType.PersistentRecursive, false);
        Checks.equal("PersistentWatchRemoved /removed", deep.next());
        other.setData("/removed", NONE, -1);
        Checks.equal("NodeDataChanged /removed", stays.next());
        mine.removeWatches("/removed", stays, WatcherType.Persistent, false);
        Checks.equal("PersistentWatchRemoved /removed", stays.next());
        mine.exists("/removed", all);
        mine.getChildren("/removed", all);
        mine.addWatch("/removed", all, AddWatchMode.PERSISTENT);
        mine.removeAllWatches("/removed", WatcherType.Any, false);
        Checks.equal(Arrays.asList("ChildWatchRemoved /removed", "DataWatchRemoved /removed",
                "PersistentWatchRemoved /removed"), sorted(Arrays.asList(all.next(), all.next(), all.next())));
        other.setData("/removed", NONE, -1);
        other.create("/removed/last", NONE, OPEN, CreateMode.PERSISTENT);
        mine.sync("/removed");
        for (Events events : Arrays.asList(data, children, stays, deep, all)) {
            Checks.equal(0, events.queue.size());
        }
        Checks.equal(Code.NOWATCHER, codeOf(() -> mine.removeAllWatches("/removed", WatcherType.Any, false)));
    }

    private void counts() throws Exception {
        made("/counts");
        made("/counts/a");
        made("/counts/a/b");
        mine.create("/counts/e1", NONE, OPEN, CreateMode.EPHEMERAL);
        mine.create("/counts/e2", NONE, OPEN, CreateMode.EPHEMERAL);
        Checks.equal(4, mine.getAllChildrenNumber("/counts"));
        Checks.equal(0, mine.getAllChildrenNumber("/counts/e1"));
        Checks.equal(Code.NONODE, codeOf(() -> mine.getAllChildrenNumber("/counts/none")));
        Checks.equal(Arrays.asList("/counts/e1", "/counts/e2"), sorted(mine.getEphemerals("/counts")));
        Checks.equal(Arrays.asList("/counts/e2"), mine.getEphemerals("/counts/e2"));
        Checks.equal(Collections.emptyList(), other.getEphemerals("/counts"));
        Checks.holds(mine.getEphemerals().containsAll(Arrays.asList("/counts/e1", "/counts/e2")), "all ephemerals");
    }

    private void whoAmI() throws Exception {
        ZooKeeper client = connected(servers);
        client.addAuthInfo("digest", Checks.bytes("me:secret"));
        client.sync("/");
        TreeSet<String> names = new TreeSet<>();
        for (ClientInfo info : client.whoAmI()) {
            names.add(info.getAuthScheme() + " " + info.getUser());
        }
        Checks.equal("[digest me, ip 127.0.0.1]", names.toString());
        client.close();
    }

    private void configuration() throws Exception {
        Stat stat = new Stat();
        String text = Checks.text(mine.getConfig(false, stat));
        List<String> keys = new ArrayList<>();
        for (String line : text.split("\n")) {
            keys.add(line.replaceFirst("=.*", ""));
        }
        Checks.equal(Arrays.asList("server.1", "server.2", "server.3", "version"), keys);
        Checks.equal(text, Checks.text(mine.getData("/zookeeper/config", false, new Stat())));
    }

    private void pipelined() throws Exception {
        int count = 500;
        made("/pipelined");
        List<String> replies = Collections.synchronizedList(new ArrayList<>());
        CountDownLatch done = new CountDownLatch(2 * count);
        List<String> expected = new ArrayList<>();
        for (int number = 0; number < count; number++) {
            String name = String.format("/pipelined/n%010d", number);
            expected.add(name);
            expected.add(name + " 1");
            mine.create("/pipelined/n", NONE, OPEN, CreateMode.PERSISTENT_SEQUENTIAL, (code, path, context, made) -> {
                replies.add(made);
                done.countDown();
            }, null);
            mine.setData(name, NONE, 0, (code, path, context, stat) -> {
                replies.add(path + " " + (stat == null ? Code.get(code) : stat.getVersion()));
                done.countDown();
            }, null);
        }
        Checks.holds(done.await(Checks.DEADLINE_S, TimeUnit.SECONDS), "not all were answered");
        Checks.equal(expected, replies);
    }

    private void chroot() throws Exception {
        made("/chroot");
        ZooKeeper inside = connected(servers + "/chroot");
        Events events = new Events();
        inside.addWatch("/", events, AddWatchMode.PERSISTENT_RECURSIVE);
        Checks.equal("/a", inside.create("/a", NONE, OPEN, CreateMode.PERSISTENT));
        Checks.equal("NodeCreated /a", events.next());
        Checks.equal("/e0000000001", inside.create("/e", NONE, OPEN, CreateMode.EPHEMERAL_SEQUENTIAL));
        Checks.equal("NodeCreated /e0000000001", events.next());
        List<OpResult> results = inside.multi(Arrays.asList(
                Op.create("/m", NONE, OPEN, CreateMode.PERSISTENT), Op.setData("/", NONE, -1)));
        // The client does not take the chroot off the paths of a multi and of getEphemerals.
        Checks.equal("/chroot/m", ((OpResult.CreateResult) results.get(0)).getPath());
        Checks.equal("NodeCreated /m", events.next());
        Checks.equal("NodeDataChanged /", events.next());
        Checks.equal(Arrays.asList("/chroot/e0000000001"), inside.getEphemerals());
        Checks.equal(3, inside.getAllChildrenNumber("/"));
        Checks.equal(Code.NONODE, codeOf(() -> inside.getData("/chroot", false, null)));
        mine.sync("/");
        Checks.equal(Arrays.asList("a", "e0000000001", "m"), sorted(mine.getChildren("/chroot", false)));
        inside.close();
        Checks.eventually("the ephemeral goes", () -> mine.exists("/chroot/e0000000001", false) == null);
    }

    private void readOnlyAllowed() throws Exception {
        Events events = new Events();
        ZooKeeper client = new ZooKeeper(servers, SESSION_MS, events, true);
        Checks.equal("None null SyncConnected", events.next());
        Checks.equal(ZooKeeper.States.CONNECTED, client.getState());
        client.create("/writable", NONE, OPEN, CreateMode.EPHEMERAL);
        client.close();
    }

    private void sessionMoves() throws Exception {
        Events first = new Events();
        ZooKeeper before = new ZooKeeper(servers, SESSION_MS, first);
        first.await(KeeperState.SyncConnected);
        before.create("/moves", NONE, OPEN, CreateMode.EPHEMERAL);
        Events second = new Events();
        ZooKeeper after = new ZooKeeper(servers, SESSION_MS, second, before.getSessionId(), before.getSessionPasswd());
        second.await(KeeperState.SyncConnected);
        Checks.equal(before.getSessionId(), after.getSessionId());
        Checks.equal(Arrays.asList("/moves"), after.getEphemerals());
        Checks.equal(after.getSessionId(), after.exists("/moves", false).getEphemeralOwner());
        // From now on two clients would take the session from each other: its end is the end of both.
        Checks.eventually("its end ends both", () -> closed(after, first));
        before.close();
        Checks.eventually("the ephemeral goes", () -> mine.exists("/moves", false) == null);
    }

    /** Closes the client, which sends the close only while it is connected; true once the other one's session is over. */
    private static boolean closed(ZooKeeper client, Events rival) throws InterruptedException {
        client.close();
        WatchedEvent event;
        while ((event = rival.queue.poll(1, TimeUnit.SECONDS)) != null) {
            if (event.getState() == KeeperState.Expired) {
                return true;
            }
        }
        return false;
    }

    private void wrongPassword() throws Exception {
        ZooKeeper right = connected(servers);
        byte[] wrong = right.getSessionPasswd().clone();
        wrong[0] ^= 1;
        Events events = new Events();
        ZooKeeper stranger = new ZooKeeper(servers, SESSION_MS, events, right.getSessionId(), wrong);
        Checks.equal("None null Expired", events.next());
        // ZooKeeper cuts the rightful client off when both ask the same server; its session lives.
        Checks.eventually("the session goes on", () -> createdUnlessLost(right, "/still-mine"));
        Checks.equal(right.getSessionId(), right.exists("/still-mine", false).getEphemeralOwner());
        stranger.close();
        right.close();
    }

    private static boolean createdUnlessLost(ZooKeeper client, String path) throws Exception {
        try {
            client.create(path, NONE, OPEN, CreateMode.EPHEMERAL);
            return true;
        } catch (KeeperException.ConnectionLossException lost) {
            return false;
        } catch (KeeperException.NodeExistsException itWas) {
            return true;
        }
    }

    /** A client of one server only; that server is killed, and when it knows of the others it goes to one of these. */
    private void watchesMove() throws Exception {
        String victim = servers.split(",")[0];
        for (String name : Arrays.asList("", "/data", "/gone", "/same", "/parent", "/stays", "/deep")) {
            made("/move" + name);
        }
        Events states = new Events();
        Events once = new Events();
        Events stays = new Events();
        Events deep = new Events();
        ZooKeeper client = new ZooKeeper(victim, SESSION_MS, states);
        states.await(KeeperState.SyncConnected);
        long session = client.getSessionId();
        client.sync("/move");
        client.create("/move/ephemeral", NONE, OPEN, CreateMode.EPHEMERAL);
        client.getData("/move/data", once, null);
        client.getData("/move/gone", once, null);
        client.getData("/move/same", once, null);
        client.getChildren("/move/parent", once);
        client.exists("/move/new", once);
        client.exists("/move/never", once);
        client.addWatch("/move/stays", stays, AddWatchMode.PERSISTENT);
        client.addWatch("/move/deep", deep, AddWatchMode.PERSISTENT_RECURSIVE);

        Checks.please("kill " + victim);
        states.await(KeeperState.Disconnected);
        ZooKeeper there = connected(servers.substring(victim.length() + 1));
        there.setData("/move/data", NONE, -1);
        there.delete("/move/gone", -1);
        there.create("/move/parent/c", NONE, OPEN, CreateMode.PERSISTENT);
        there.create("/move/new", NONE, OPEN, CreateMode.PERSISTENT);
        there.setData("/move/stays", NONE, -1);
        there.create("/move/deep/missed", NONE, OPEN, CreateMode.PERSISTENT);
        client.updateServerList(servers);
        states.await(KeeperState.SyncConnected);
        Checks.equal(session, client.getSessionId());
        List<String> told = new ArrayList<>();
        for (int event = 0; event < 4; event++) {
            told.add(once.nextOfNode());
        }
        Checks.equal(Arrays.asList("NodeChildrenChanged /move/parent", "NodeCreated /move/new",
                "NodeDataChanged /move/data", "NodeDeleted /move/gone"), sorted(told));
        Checks.equal(session, client.exists("/move/ephemeral", false).getEphemeralOwner());
        // Only what stays is not told what it missed; a node's changes from now on are told once.
        there.setData("/move/same", NONE, -1);
        Checks.equal("NodeDataChanged /move/same", once.nextOfNode());
        there.setData("/move/stays", NONE, -1);
        Stat last = there.setData("/move/stays", NONE, -1);
        there.create("/move/deep/told", NONE, OPEN, CreateMode.PERSISTENT);
        Checks.equal("NodeDataChanged /move/stays", stays.nextOfNode());
        Checks.equal(last.getMzxid() - 1, stays.zxid);
        Checks.equal("NodeDataChanged /move/stays", stays.nextOfNode());
        Checks.equal("NodeCreated /move/deep/told", deep.nextOfNode());
        client.removeWatches("/move/stays", stays, WatcherType.Persistent, false);
        Checks.equal("PersistentWatchRemoved /move/stays", stays.nextOfNode());
        Checks.equal(0, once.queue.size());
        Checks.please("start all");
        client.close();
        there.close();
    }

    private void removeLocally() throws Exception {
        String victim = servers.split(",")[0];
        made("/locally");
        Events states = new Events();
        Events events = new Events();
        ZooKeeper client = new ZooKeeper(victim, SESSION_MS, states);
        states.await(KeeperState.SyncConnected);
        client.sync("/locally");
        client.getData("/locally", events, null);
        Checks.please("kill " + victim);
        states.await(KeeperState.Disconnected);
        Checks.equal(Code.CONNECTIONLOSS,
                codeOf(() -> client.removeWatches("/locally", events, WatcherType.Any, false)));
        client.removeWatches("/locally", events, WatcherType.Any, true);
        Checks.equal("None null Disconnected", events.next());
        Checks.equal("DataWatchRemoved /locally", events.next());
        Checks.please("start all");
        states.await(KeeperState.SyncConnected);
        Checks.equal("data", Checks.text(client.getData("/locally", false, null)));
        client.setData("/locally", NONE, -1);
        client.sync("/locally");
        Checks.equal(0, events.queue.size());
        client.close();
    }

    /** Creates without end; in the middle of them the leader goes. What was acknowledged is there, in its order. */
    private void leaderKilled() throws Exception {
        long session = mine.getSessionId();
        made("/acknowledged");
        List<String> names = Collections.synchronizedList(new ArrayList<>());
        BlockingQueue<Boolean> ends = new LinkedBlockingQueue<>();
        boolean[] stop = {false};
        Thread writer = new Thread(() -> {
            while (!stop[0]) {
                try {
                    names.add(mine.create("/acknowledged/n", NONE, OPEN, CreateMode.PERSISTENT_SEQUENTIAL));
                } catch (KeeperException.ConnectionLossException lost) {
                    continue;
                } catch (Exception error) {
                    error.printStackTrace(System.out);
                    ends.add(false);
                    return;
                }
            }
            ends.add(true);
        });
        writer.start();
        Checks.eventually("writes are on their way", () -> names.size() > 20);
        Checks.please("kill leader");
        int before = names.size();
        Checks.eventually("writes go on", () -> names.size() > before + 20);
        Checks.please("start all");
        stop[0] = true;
        Checks.equal(true, Checks.next(ends));
        Checks.equal(session, mine.getSessionId());
        mine.sync("/acknowledged");
        Checks.equal(names, sorted(names));
        List<String> there = new ArrayList<>();
        for (String name : mine.getChildren("/acknowledged", false)) {
            there.add("/acknowledged/" + name);
        }
        Checks.holds(there.containsAll(names), "what was acknowledged is not there");
    }

    private static List<String> sorted(List<String> list) {
        List<String> copy = new ArrayList<>(list);
        Collections.sort(copy);
        return copy;
    }
}
