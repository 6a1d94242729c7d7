import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.api.transaction.CuratorTransactionResult;
import org.apache.curator.framework.recipes.atomic.AtomicValue;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicLong;
import org.apache.curator.framework.recipes.barriers.DistributedBarrier;
import org.apache.curator.framework.recipes.barriers.DistributedDoubleBarrier;
import org.apache.curator.framework.recipes.cache.CuratorCache;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.leader.LeaderSelector;
import org.apache.curator.framework.recipes.leader.LeaderSelectorListenerAdapter;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.InterProcessReadWriteLock;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreV2;
import org.apache.curator.framework.recipes.locks.Lease;
import org.apache.curator.framework.recipes.nodes.GroupMember;
import org.apache.curator.framework.recipes.nodes.PersistentNode;
import org.apache.curator.framework.recipes.nodes.PersistentTtlNode;
import org.apache.curator.framework.recipes.queue.DistributedDelayQueue;
import org.apache.curator.framework.recipes.queue.DistributedPriorityQueue;
import org.apache.curator.framework.recipes.queue.DistributedQueue;
import org.apache.curator.framework.recipes.queue.QueueBuilder;
import org.apache.curator.framework.recipes.queue.QueueConsumer;
import org.apache.curator.framework.recipes.queue.QueueSerializer;
import org.apache.curator.framework.recipes.shared.SharedCount;
import org.apache.curator.framework.recipes.shared.SharedCountListener;
import org.apache.curator.framework.recipes.shared.SharedCountReader;
import org.apache.curator.framework.recipes.shared.SharedValue;
import org.apache.curator.framework.recipes.shared.VersionedValue;
import org.apache.curator.framework.recipes.watch.PersistentWatcher;
import org.apache.curator.framework.state.ConnectionState;
import org.apache.curator.framework.state.ConnectionStateListener;
import org.apache.curator.retry.RetryNTimes;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.WatchedEvent;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.data.Stat;

/** Curator's recipes with two clients, also while the servers of these are killed. */
public final class Recipes {
    private static final int SESSION_MS = 15000;
    private static final int CONNECT_MS = 10000;
    private static final int TTL_MS = 300;

    private final CuratorFramework mine;
    private final CuratorFramework other;
    private final ExecutorService pool = Executors.newCachedThreadPool();

    private Recipes(String servers) throws InterruptedException {
        mine = started(servers);
        other = started(servers);
    }

    private static CuratorFramework started(String servers) throws InterruptedException {
        CuratorFramework client =
                CuratorFrameworkFactory.newClient(servers, SESSION_MS, CONNECT_MS, new RetryNTimes(300, 50));
        client.start();
        Checks.holds(client.blockUntilConnected(Checks.DEADLINE_S, TimeUnit.SECONDS), "no connection");
        return client;
    }

    public static void main(String[] arguments) throws Exception {
        Recipes recipes = new Recipes(arguments[0]);
        Checks.check("mutex", recipes::mutex);
        Checks.check("semaphore", recipes::semaphore);
        Checks.check("read and write lock", recipes::readWriteLock);
        Checks.check("leader latch", recipes::leaderLatch);
        Checks.check("leader selector", recipes::leaderSelector);
        Checks.check("cache", recipes::cache);
        Checks.check("persistent node", recipes::persistentNode);
        Checks.check("group member", recipes::groupMember);
        Checks.check("persistent node with a time to live", recipes::persistentTtlNode);
        Checks.check("containers and times to live", recipes::containers);
        Checks.check("barrier", recipes::barrier);
        Checks.check("double barrier", recipes::doubleBarrier);
        Checks.check("shared count and value", recipes::shared);
        Checks.check("atomic long", recipes::atomicLong);
        Checks.check("queue", recipes::queue);
        Checks.check("priority queue", recipes::priorityQueue);
        Checks.check("delay queue", recipes::delayQueue);
        Checks.check("persistent watcher", recipes::persistentWatcher);
        Checks.check("transactions", recipes::transactions);
        Checks.check("recipes outlive the leader", () -> recipes.outlive("leader"));
        Checks.check("recipes outlive a server", () -> recipes.outlive(serverOf(recipes.mine)));
        Checks.check("recipes begin again with the next session", () -> recipes.beginAgain(arguments[0]));
        recipes.mine.close();
        recipes.other.close();
        Checks.finish();
    }

    private void mutex() throws Exception {
        InterProcessMutex first = new InterProcessMutex(mine, "/mutex");
        InterProcessMutex second = new InterProcessMutex(other, "/mutex");
        first.acquire();
        first.acquire();
        Future<Boolean> waiting = pool.submit(() -> acquireAndRelease(second));
        Checks.eventually("the second one waits", () -> first.getParticipantNodes().size() == 2);
        first.release();
        Checks.holds(first.isAcquiredInThisProcess() && !waiting.isDone(), "it was acquired twice");
        first.release();
        Checks.equal(true, waiting.get(Checks.DEADLINE_S, TimeUnit.SECONDS));
        Checks.eventually("nobody holds it", () -> nobodyTakesPart(first::getParticipantNodes));
    }

    /** Whether no node of a lock or semaphore is left. Their folder is a container, which may be gone with them. */
    private static boolean nobodyTakesPart(Callable<Collection<String>> nodes) throws Exception {
        try {
            return nodes.call().isEmpty();
        } catch (KeeperException.NoNodeException gone) {
            return true;
        }
    }

    private static boolean acquireAndRelease(InterProcessMutex mutex) throws Exception {
        boolean acquired = mutex.acquire(2 * Checks.DEADLINE_S, TimeUnit.SECONDS);
        if (acquired) {
            mutex.release();
        }
        return acquired;
    }

    private void semaphore() throws Exception {
        InterProcessSemaphoreV2 here = new InterProcessSemaphoreV2(mine, "/semaphore", 2);
        InterProcessSemaphoreV2 there = new InterProcessSemaphoreV2(other, "/semaphore", 2);
        Lease one = here.acquire();
        Lease two = there.acquire();
        Checks.equal(null, there.acquire(200, TimeUnit.MILLISECONDS));
        Future<Lease> waiting = pool.submit(() -> there.acquire(Checks.DEADLINE_S, TimeUnit.SECONDS));
        here.returnLease(one);
        Lease three = waiting.get(Checks.DEADLINE_S, TimeUnit.SECONDS);
        Checks.holds(three != null, "the lease that came back was not given out");
        Checks.eventually("two leases are out", () -> here.getParticipantNodes().size() == 2);
        there.returnAll(Arrays.asList(two, three));
        Checks.eventually("all leases are back", () -> nobodyTakesPart(here::getParticipantNodes));
    }

    private void readWriteLock() throws Exception {
        InterProcessReadWriteLock here = new InterProcessReadWriteLock(mine, "/rw");
        InterProcessReadWriteLock there = new InterProcessReadWriteLock(other, "/rw");
        here.readLock().acquire();
        Checks.holds(there.readLock().acquire(Checks.DEADLINE_S, TimeUnit.SECONDS), "readers exclude each other");
        there.readLock().release();
        Future<Boolean> writer = pool.submit(() -> acquireAndRelease(there.writeLock()));
        Checks.eventually("the writer waits", () -> here.writeLock().getParticipantNodes().size() == 1);
        Checks.holds(!writer.isDone(), "a writer beside a reader");
        here.readLock().release();
        Checks.equal(true, writer.get(Checks.DEADLINE_S, TimeUnit.SECONDS));
        here.writeLock().acquire();
        Checks.holds(!there.readLock().acquire(200, TimeUnit.MILLISECONDS), "a reader beside a writer");
        here.readLock().acquire();
        here.writeLock().release();
        Checks.holds(there.readLock().acquire(Checks.DEADLINE_S, TimeUnit.SECONDS), "the writer became a reader");
        there.readLock().release();
        here.readLock().release();
    }

    private void leaderLatch() throws Exception {
        LeaderLatch first = new LeaderLatch(mine, "/latch", "first");
        first.start();
        Checks.holds(first.await(Checks.DEADLINE_S, TimeUnit.SECONDS), "nobody leads");
        try (LeaderLatch second = new LeaderLatch(other, "/latch", "second")) {
            second.start();
            Checks.eventually("both take part", () -> second.getParticipants().size() == 2);
            Checks.equal("first", second.getLeader().getId());
            Checks.holds(!second.hasLeadership(), "two lead");
            first.close();
            Checks.holds(second.await(Checks.DEADLINE_S, TimeUnit.SECONDS), "the leadership was not passed on");
            Checks.equal("second", second.getLeader().getId());
        }
    }

    private void leaderSelector() throws Exception {
        BlockingQueue<String> terms = new LinkedBlockingQueue<>();
        BlockingQueue<Boolean> ends = new LinkedBlockingQueue<>();
        try (LeaderSelector first = selector(mine, "first", terms, ends);
                LeaderSelector second = selector(other, "second", terms, ends)) {
            List<String> led = new ArrayList<>();
            led.add(Checks.next(terms));
            Checks.eventually("both take part", () -> first.getParticipants().size() == 2);
            for (int term = 0; term < 3; term++) {
                String leader = led.get(term);
                Checks.eventually(leader + " is known", () -> leader.equals(second.getLeader().getId()));
                ends.add(true);
                led.add(Checks.next(terms));
                Checks.eventually("the last one queues again", () -> first.getParticipants().size() == 2);
            }
            String begin = led.get(0);
            String next = begin.equals("first") ? "second" : "first";
            Checks.equal(Arrays.asList(begin, next, begin, next), led);
            Checks.equal(0, terms.size());
            ends.addAll(Arrays.asList(true, true, true, true));
        }
    }

    private static LeaderSelector selector(
            CuratorFramework client, String id, BlockingQueue<String> terms, BlockingQueue<Boolean> ends) {
        LeaderSelector selector = new LeaderSelector(client, "/selector", new LeaderSelectorListenerAdapter() {
            @Override
            public void takeLeadership(CuratorFramework ignored) throws Exception {
                terms.add(id);
                ends.take();
            }
        });
        selector.setId(id);
        selector.autoRequeue();
        selector.start();
        return selector;
    }

    /** The cache with a line for every change that it tells. */
    private static CuratorCache cacheOf(CuratorFramework client, String path, BlockingQueue<String> events) {
        CuratorCache cache = CuratorCache.build(client, path);
        cache.listenable().addListener((type, before, after) ->
                events.add(type + " " + (after == null ? before : after).getPath()
                        + " " + Checks.text((after == null ? before : after).getData())));
        cache.start();
        return cache;
    }

    private void cache() throws Exception {
        mine.create().forPath("/cache", Checks.bytes("root"));
        BlockingQueue<String> events = new LinkedBlockingQueue<>();
        try (CuratorCache cache = cacheOf(mine, "/cache", events)) {
            Checks.equal("NODE_CREATED /cache root", Checks.next(events));
            other.create().forPath("/cache/a", Checks.bytes("1"));
            Checks.equal("NODE_CREATED /cache/a 1", Checks.next(events));
            other.setData().forPath("/cache/a", Checks.bytes("2"));
            Checks.equal("NODE_CHANGED /cache/a 2", Checks.next(events));
            other.create().forPath("/cache/a/b", Checks.bytes("3"));
            Checks.equal("NODE_CREATED /cache/a/b 3", Checks.next(events));
            other.create().forPath("/cachet", Checks.bytes("not below"));
            other.delete().deletingChildrenIfNeeded().forPath("/cache/a");
            Checks.equal("NODE_DELETED /cache/a/b 3", Checks.next(events));
            Checks.equal("NODE_DELETED /cache/a 2", Checks.next(events));
            Checks.equal(1, cache.size());
        }
        other.setData().forPath("/cache", Checks.bytes("closed"));
        mine.sync().forPath("/cache");
        Checks.equal(0, events.size());
    }

    private void persistentNode() throws Exception {
        long session = sessionOf(mine);
        try (PersistentNode node =
                new PersistentNode(mine, CreateMode.EPHEMERAL, false, "/stays/here", Checks.bytes("data"))) {
            node.start();
            Checks.holds(node.waitForInitialCreate(Checks.DEADLINE_S, TimeUnit.SECONDS), "it was not created");
            other.sync().forPath("/stays");
            Stat first = other.checkExists().forPath("/stays/here");
            Checks.equal(session, first.getEphemeralOwner());
            other.delete().forPath("/stays/here");
            Checks.eventually("it comes back", () -> {
                Stat again = other.checkExists().forPath("/stays/here");
                return again != null && again.getCzxid() > first.getCzxid();
            });
            node.setData(Checks.bytes("new"));
            Checks.eventually("it has its data", () -> "new".equals(read(other, "/stays/here")));
            Checks.equal(session, other.checkExists().forPath("/stays/here").getEphemeralOwner());
        }
        Checks.eventually("it goes", () -> other.checkExists().forPath("/stays/here") == null);
    }

    private void groupMember() throws Exception {
        try (GroupMember first = new GroupMember(mine, "/group", "first", Checks.bytes("1"))) {
            GroupMember second = new GroupMember(other, "/group", "second", Checks.bytes("2"));
            first.start();
            second.start();
            Checks.eventually("both are members", () -> first.getCurrentMembers().size() == 2
                    && second.getCurrentMembers().size() == 2);
            Checks.equal("2", Checks.text(first.getCurrentMembers().get("second")));
            Checks.eventually("the member knows of its own node", () -> setsData(first, "changed"));
            Checks.eventually("the data is told",
                    () -> "changed".equals(Checks.text(second.getCurrentMembers().get("first"))));
            second.close();
            Checks.eventually("one has left", () -> !first.getCurrentMembers().containsKey("second"));
        }
    }

    /** The node may be seen by everybody before the member has the answer to its create. */
    private static boolean setsData(GroupMember member, String data) {
        try {
            member.setThisData(Checks.bytes(data));
            return true;
        } catch (IllegalStateException notYet) {
            return false;
        }
    }

    private void persistentTtlNode() throws Exception {
        try (PersistentTtlNode node = new PersistentTtlNode(mine, "/ttl/node", 5 * TTL_MS, Checks.bytes("data"))) {
            node.start();
            Checks.holds(node.waitForInitialCreate(Checks.DEADLINE_S, TimeUnit.SECONDS), "it was not created");
            Checks.eventually("it is touched", () -> {
                Stat touch = other.checkExists().forPath("/ttl/node/touch");
                return touch != null && touch.getVersion() > 0;
            });
            Checks.eventually("it has its data", () -> "data".equals(read(other, "/ttl/node")));
        }
        Checks.eventually("it goes when nobody touches it", () -> other.checkExists().forPath("/ttl/node") == null);
    }

    private void containers() throws Exception {
        mine.create().withMode(CreateMode.CONTAINER).forPath("/container");
        mine.create().creatingParentContainersIfNeeded().forPath("/parents/of/it");
        mine.create().forPath("/container/child");
        mine.delete().forPath("/container/child");
        mine.delete().forPath("/parents/of/it");
        Checks.eventually("empty containers go", () -> mine.checkExists().forPath("/container") == null
                && mine.checkExists().forPath("/parents") == null);
        String kept = mine.create().withTtl(3600_000).withMode(CreateMode.PERSISTENT_WITH_TTL).forPath("/kept");
        String lost = mine.create().withTtl(TTL_MS).withMode(CreateMode.PERSISTENT_SEQUENTIAL_WITH_TTL).forPath("/lost-");
        Checks.holds(lost.matches("/lost-\\d{10}"), lost);
        Checks.eventually("its time is over", () -> mine.checkExists().forPath(lost) == null);
        Checks.holds(mine.checkExists().forPath(kept) != null, "gone before its time");
    }

    private void barrier() throws Exception {
        DistributedBarrier here = new DistributedBarrier(mine, "/barrier");
        DistributedBarrier there = new DistributedBarrier(other, "/barrier");
        here.setBarrier();
        other.sync().forPath("/barrier");
        Checks.holds(!there.waitOnBarrier(200, TimeUnit.MILLISECONDS), "the barrier is open");
        Future<Boolean> waiting = pool.submit(() -> there.waitOnBarrier(Checks.DEADLINE_S, TimeUnit.SECONDS));
        here.removeBarrier();
        Checks.equal(true, waiting.get(Checks.DEADLINE_S, TimeUnit.SECONDS));
    }

    private void doubleBarrier() throws Exception {
        DistributedDoubleBarrier here = new DistributedDoubleBarrier(mine, "/double", 2);
        DistributedDoubleBarrier there = new DistributedDoubleBarrier(other, "/double", 2);
        Future<Boolean> entering = pool.submit(() -> there.enter(Checks.DEADLINE_S, TimeUnit.SECONDS));
        Checks.eventually("one waits", () -> {
            Stat stat = mine.checkExists().forPath("/double");
            return stat != null && stat.getNumChildren() == 1;
        });
        Checks.holds(!entering.isDone(), "one alone got in");
        Checks.holds(here.enter(Checks.DEADLINE_S, TimeUnit.SECONDS), "the second did not get in");
        Checks.equal(true, entering.get(Checks.DEADLINE_S, TimeUnit.SECONDS));
        Future<Boolean> leaving = pool.submit(() -> there.leave(Checks.DEADLINE_S, TimeUnit.SECONDS));
        Checks.holds(here.leave(Checks.DEADLINE_S, TimeUnit.SECONDS), "the first did not get out");
        Checks.equal(true, leaving.get(Checks.DEADLINE_S, TimeUnit.SECONDS));
        Checks.eventually("nobody is in", () -> mine.checkExists().forPath("/double").getNumChildren() == 0);
    }

    private void shared() throws Exception {
        BlockingQueue<Integer> told = new LinkedBlockingQueue<>();
        try (SharedCount here = new SharedCount(mine, "/count", 7);
                SharedCount there = new SharedCount(other, "/count", 9);
                SharedValue value = new SharedValue(mine, "/value", Checks.bytes("seed"))) {
            here.start();
            there.start();
            value.start();
            Checks.equal(7, there.getCount());
            there.addListener(new SharedCountListener() {
                @Override
                public void countHasChanged(SharedCountReader count, int number) {
                    told.add(number);
                }

                @Override
                public void stateChanged(CuratorFramework client, ConnectionState state) {}
            });
            VersionedValue<Integer> before = there.getVersionedValue();
            here.setCount(8);
            Checks.equal(8, Checks.next(told));
            Checks.holds(!there.trySetCount(before, 10), "an old version was written over");
            Checks.holds(there.trySetCount(there.getVersionedValue(), 11), "the newest version was refused");
            Checks.equal(11, Integer.valueOf(there.getCount()));
            VersionedValue<byte[]> seed = value.getVersionedValue();
            Checks.holds(value.trySetValue(seed, Checks.bytes("new")), "the newest version was refused");
            other.sync().forPath("/value");
            Checks.equal("new", read(other, "/value"));
        }
    }

    private void atomicLong() throws Exception {
        int each = 20;
        DistributedAtomicLong here = new DistributedAtomicLong(mine, "/long", new RetryNTimes(1000, 2));
        DistributedAtomicLong there = new DistributedAtomicLong(other, "/long", new RetryNTimes(1000, 2));
        Checks.holds(here.initialize(0L), "it was there");
        Checks.holds(!there.initialize(5L), "initialized twice");
        Future<Boolean> adding = pool.submit(() -> increment(there, each));
        Checks.equal(true, increment(here, each));
        Checks.equal(true, adding.get(2 * Checks.DEADLINE_S, TimeUnit.SECONDS));
        mine.sync().forPath("/long");
        Checks.equal(2L * each, here.get().postValue());
        AtomicValue<Long> swapped = here.compareAndSet(-1L, 5L);
        Checks.holds(!swapped.succeeded(), "another value was there");
    }

    private static boolean increment(DistributedAtomicLong counter, int times) throws Exception {
        for (int time = 0; time < times; time++) {
            if (!counter.increment().succeeded()) {
                return false;
            }
        }
        return true;
    }

    private static final QueueSerializer<String> TEXT = new QueueSerializer<String>() {
        @Override
        public byte[] serialize(String item) {
            return Checks.bytes(item);
        }

        @Override
        public String deserialize(byte[] bytes) {
            return Checks.text(bytes);
        }
    };

    private static QueueConsumer<String> into(BlockingQueue<String> taken) {
        return new QueueConsumer<String>() {
            @Override
            public void consumeMessage(String item) {
                taken.add(item);
            }

            @Override
            public void stateChanged(CuratorFramework client, ConnectionState state) {}
        };
    }

    private void queue() throws Exception {
        BlockingQueue<String> taken = new LinkedBlockingQueue<>();
        try (DistributedQueue<String> from =
                        QueueBuilder.builder(other, into(taken), TEXT, "/queue").lockPath("/queue-locks").buildQueue();
                DistributedQueue<String> to = QueueBuilder.builder(mine, null, TEXT, "/queue").buildQueue()) {
            from.start();
            to.start();
            List<String> items = new ArrayList<>();
            for (int number = 0; number < 20; number++) {
                items.add("item " + number);
                to.put("item " + number);
            }
            for (String item : items) {
                Checks.equal(item, Checks.next(taken));
            }
            Checks.eventually("it is empty", () -> mine.getChildren().forPath("/queue").isEmpty());
            Checks.equal(0, taken.size());
        }
    }

    private void priorityQueue() throws Exception {
        BlockingQueue<String> taken = new LinkedBlockingQueue<>();
        // Puts that are done when they come back: all three are there before one is taken.
        QueueBuilder<String> done = QueueBuilder.<String>builder(mine, null, TEXT, "/priorities").putInBackground(false);
        try (DistributedPriorityQueue<String> to = done.buildPriorityQueue(0);
                DistributedPriorityQueue<String> from =
                        QueueBuilder.builder(other, into(taken), TEXT, "/priorities").buildPriorityQueue(0)) {
            to.start();
            to.put("last", 30);
            to.put("second", 20);
            to.put("first", -10);
            other.sync().forPath("/priorities");
            from.start();
            for (String item : Arrays.asList("first", "second", "last")) {
                Checks.equal(item, Checks.next(taken));
            }
        }
    }

    private void delayQueue() throws Exception {
        BlockingQueue<String> taken = new LinkedBlockingQueue<>();
        try (DistributedDelayQueue<String> queue =
                QueueBuilder.builder(mine, into(taken), TEXT, "/delays").buildDelayQueue()) {
            queue.start();
            long now = System.currentTimeMillis();
            queue.put("later", now + 800);
            queue.put("sooner", now + 400);
            Checks.equal("sooner", Checks.next(taken));
            Checks.holds(System.currentTimeMillis() >= now + 400, "too soon");
            Checks.equal("later", Checks.next(taken));
            Checks.holds(System.currentTimeMillis() >= now + 800, "too soon");
        }
    }

    private void persistentWatcher() throws Exception {
        BlockingQueue<String> events = new LinkedBlockingQueue<>();
        try (PersistentWatcher watcher = new PersistentWatcher(mine, "/watched", true)) {
            watcher.getListenable().addListener(event -> events.add(line(event)));
            BlockingQueue<String> resets = new LinkedBlockingQueue<>();
            watcher.getResetListenable().addListener(() -> resets.add("set"));
            watcher.start();
            Checks.next(resets);
            other.create().forPath("/watched");
            other.create().forPath("/watched/a");
            other.setData().forPath("/watched/a", Checks.bytes("1"));
            other.setData().forPath("/watched/a", Checks.bytes("2"));
            other.delete().forPath("/watched/a");
            for (String event : Arrays.asList("NodeCreated /watched", "NodeCreated /watched/a",
                    "NodeDataChanged /watched/a", "NodeDataChanged /watched/a", "NodeDeleted /watched/a")) {
                Checks.equal(event, Checks.next(events));
            }
        }
    }

    private static String line(WatchedEvent event) {
        return event.getType() + " " + event.getPath();
    }

    private void transactions() throws Exception {
        mine.create().forPath("/transaction", Checks.bytes("0"));
        List<CuratorTransactionResult> results = mine.transaction().forOperations(
                mine.transactionOp().create().forPath("/transaction/a", Checks.bytes("a")),
                mine.transactionOp().setData().withVersion(0).forPath("/transaction", Checks.bytes("1")),
                mine.transactionOp().check().withVersion(1).forPath("/transaction"),
                mine.transactionOp().delete().forPath("/transaction/a"));
        Checks.equal(4, results.size());
        Checks.equal("/transaction/a", results.get(0).getResultPath());
        Checks.equal(1, results.get(1).getResultStat().getVersion());
        KeeperException error = Checks.throwsA(KeeperException.class, () -> mine.transaction().forOperations(
                mine.transactionOp().setData().forPath("/transaction", Checks.bytes("2")),
                mine.transactionOp().check().withVersion(1).forPath("/transaction"),
                mine.transactionOp().delete().forPath("/transaction")));
        Checks.equal(KeeperException.Code.BADVERSION, error.code());
        Checks.equal(-103, error.getResults().get(1) instanceof org.apache.zookeeper.OpResult.ErrorResult
                ? ((org.apache.zookeeper.OpResult.ErrorResult) error.getResults().get(1)).getErr() : 0);
        Checks.equal("1", read(mine, "/transaction"));
    }

    /** What the two clients hold, watch and wait for, while a server goes and comes back. */
    private void outlive(String victim) throws Exception {
        String folder = "/outlive-" + victim.replaceAll("\\W", "-");
        BlockingQueue<ConnectionState> states = new LinkedBlockingQueue<>();
        ConnectionStateListener listener = (client, state) -> states.add(state);
        mine.getConnectionStateListenable().addListener(listener);
        other.getConnectionStateListenable().addListener(listener);
        long[] sessions = {sessionOf(mine), sessionOf(other)};

        mine.create().forPath(folder);
        InterProcessMutex held = new InterProcessMutex(mine, folder + "/mutex");
        InterProcessMutex wanted = new InterProcessMutex(other, folder + "/mutex");
        held.acquire();
        Future<Boolean> waiting = pool.submit(() -> acquireAndRelease(wanted));
        BlockingQueue<String> events = new LinkedBlockingQueue<>();
        other.sync().forPath(folder);
        other.create().forPath(folder + "/cached", Checks.bytes("0"));
        mine.sync().forPath(folder);
        try (PersistentNode node =
                        new PersistentNode(mine, CreateMode.EPHEMERAL, false, folder + "/node", Checks.bytes("data"));
                GroupMember one = new GroupMember(mine, folder + "/group", "one");
                GroupMember two = new GroupMember(other, folder + "/group", "two");
                LeaderLatch here = new LeaderLatch(mine, folder + "/latch", "here");
                LeaderLatch there = new LeaderLatch(other, folder + "/latch", "there");
                CuratorCache cache = cacheOf(mine, folder + "/cached", events)) {
            node.start();
            one.start();
            two.start();
            here.start();
            there.start();
            Checks.equal("NODE_CREATED " + folder + "/cached 0", Checks.next(events));
            Checks.holds(node.waitForInitialCreate(Checks.DEADLINE_S, TimeUnit.SECONDS), "no persistent node");
            Checks.eventually("the mutex is waited for", () -> held.getParticipantNodes().size() == 2);
            Checks.eventually("both are members", () -> one.getCurrentMembers().size() == 2);
            Checks.eventually("one leads", () -> here.hasLeadership() || there.hasLeadership());
            Stat before = mine.checkExists().forPath(folder + "/node");

            Checks.please("kill " + victim);
            other.setData().forPath(folder + "/cached", Checks.bytes("1"));
            String told = Checks.next(events);
            // A write that is repeated after the loss of its connection may be told twice.
            Checks.equal("NODE_CHANGED " + folder + "/cached 1", told);
            other.create().orSetData().forPath(folder + "/cached/new", Checks.bytes("2"));
            Checks.eventually("the cache goes on", () -> cache.get(folder + "/cached/new").isPresent());

            Checks.equal(sessions, new long[] {sessionOf(mine), sessionOf(other)});
            Stat after = mine.checkExists().forPath(folder + "/node");
            Checks.equal(before.getCzxid(), after.getCzxid());
            Checks.equal(sessions[0], after.getEphemeralOwner());
            Checks.equal(2, held.getParticipantNodes().size());
            Checks.holds(!waiting.isDone(), "the mutex was taken away");
            held.release();
            Checks.equal(true, waiting.get(Checks.DEADLINE_S, TimeUnit.SECONDS));
            Checks.eventually("both are members", () -> one.getCurrentMembers().size() == 2
                    && two.getCurrentMembers().size() == 2);
            Checks.eventually("one leads, and both know which", () -> here.hasLeadership() != there.hasLeadership()
                    && here.getLeader().getId().equals(there.getLeader().getId())
                    && here.getLeader().getId().equals(here.hasLeadership() ? "here" : "there"));
            Checks.please("start all");
            other.setData().forPath(folder + "/cached", Checks.bytes("3"));
            Checks.eventually("the cache sees all",
                    () -> "3".equals(Checks.text(cache.get(folder + "/cached").get().getData())));
        }
        Checks.holds(!states.contains(ConnectionState.LOST), "a session was lost: " + states);
        Checks.holds(states.contains(ConnectionState.RECONNECTED) || victim.equals("leader"), "whose server was it?");
        mine.getConnectionStateListenable().removeListener(listener);
        other.getConnectionStateListenable().removeListener(listener);
    }

    /** What the recipes do when the session is over. */
    private void beginAgain(String servers) throws Exception {
        long session = sessionOf(mine);
        BlockingQueue<ConnectionState> states = new LinkedBlockingQueue<>();
        ConnectionStateListener listener = (client, state) -> states.add(state);
        mine.getConnectionStateListenable().addListener(listener);
        BlockingQueue<String> events = new LinkedBlockingQueue<>();
        mine.create().forPath("/again", Checks.bytes("0"));
        try (PersistentNode node =
                        new PersistentNode(mine, CreateMode.EPHEMERAL, false, "/again-node", Checks.bytes("data"));
                LeaderLatch here = new LeaderLatch(mine, "/again-latch", "here");
                LeaderLatch there = new LeaderLatch(other, "/again-latch", "there");
                CuratorCache cache = cacheOf(mine, "/again", events)) {
            node.start();
            here.start();
            Checks.equal("NODE_CREATED /again 0", Checks.next(events));
            Checks.holds(node.waitForInitialCreate(Checks.DEADLINE_S, TimeUnit.SECONDS), "no persistent node");
            Checks.holds(here.await(Checks.DEADLINE_S, TimeUnit.SECONDS), "nobody leads");
            there.start();
            Checks.eventually("both take part", () -> there.getParticipants().size() == 2);
            byte[] password = mine.getZookeeperClient().getZooKeeper().getSessionPasswd();
            Checks.eventually("the session is lost", () -> {
                endSession(servers, session, password);
                return states.contains(ConnectionState.LOST);
            });
            Checks.holds(there.await(Checks.DEADLINE_S, TimeUnit.SECONDS), "the leadership was not passed on");
            Checks.eventually("the node has the next session", () -> {
                Stat stat = other.checkExists().forPath("/again-node");
                return stat != null && stat.getEphemeralOwner() != session
                        && stat.getEphemeralOwner() == sessionOf(mine);
            });
            Checks.eventually("one follows", () -> here.getParticipants().size() == 2 && !here.hasLeadership());
            other.setData().forPath("/again", Checks.bytes("1"));
            Checks.equal("NODE_CHANGED /again 1", Checks.next(events));
        }
        mine.getConnectionStateListenable().removeListener(listener);
    }

    /** Takes the session to another connection and closes it there, unless its client takes it back before. */
    private static void endSession(String servers, long session, byte[] password) throws Exception {
        BlockingQueue<WatchedEvent> events = new LinkedBlockingQueue<>();
        ZooKeeper rival = new ZooKeeper(servers, SESSION_MS, events::add, session, password);
        Checks.next(events);
        rival.close();
    }

    private static long sessionOf(CuratorFramework client) throws Exception {
        return client.getZookeeperClient().getZooKeeper().getSessionId();
    }

    /** `host:port` of the server that the client is connected to; only the text of the client tells it. */
    private static String serverOf(CuratorFramework client) throws Exception {
        String text = client.getZookeeperClient().getZooKeeper().toString();
        return text.replaceFirst("(?s).*remoteserver:[^/ ]*/([0-9.]+:[0-9]+) .*", "$1");
    }

    private static String read(CuratorFramework client, String path) throws Exception {
        return Checks.text(client.getData().forPath(path));
    }
}
