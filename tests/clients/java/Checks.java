import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.util.Objects;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Callable;
import java.util.concurrent.TimeUnit;

/** What a program of checks needs: it tells of each check, waits for what must come, and asks for servers to be killed. */
final class Checks {
    static final int DEADLINE_S = 30;

    private static final int POLL_MS = 10;
    private static final BufferedReader IN = new BufferedReader(new InputStreamReader(System.in));
    private static boolean failed;

    interface Body {
        void run() throws Exception;
    }

    private Checks() {}

    /** Runs one check and tells how it went. */
    static void check(String name, Body body) {
        try {
            body.run();
            System.out.println("passed " + name);
        } catch (Exception | AssertionError error) {
            failed = true;
            error.printStackTrace(System.out);
            System.out.println("failed " + name + ": " + error);
        }
    }

    /** The end of the program. Threads of clients that a failed check left open do not keep it. */
    static void finish() {
        System.out.println("finished");
        System.exit(failed ? 1 : 0);
    }

    /** Lets something happen to the servers, and waits until it has. */
    static void please(String request) throws IOException {
        System.out.println("please " + request);
        equal("done", IN.readLine());
    }

    static void equal(Object expected, Object found) {
        if (!Objects.deepEquals(expected, found)) {
            throw new AssertionError("expected " + expected + ", found " + found);
        }
    }

    static void holds(boolean condition, String what) {
        if (!condition) {
            throw new AssertionError(what);
        }
    }

    /** The exception of this kind that the body ends with. */
    static <E extends Exception> E throwsA(Class<E> kind, Body body) throws Exception {
        try {
            body.run();
        } catch (Exception error) {
            if (kind.isInstance(error)) {
                return kind.cast(error);
            }
            throw error;
        }
        throw new AssertionError("no " + kind.getSimpleName());
    }

    /** Waits until the condition holds. */
    static void eventually(String what, Callable<Boolean> condition) throws Exception {
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(DEADLINE_S);
        while (!condition.call()) {
            holds(System.nanoTime() < end, "never: " + what);
            TimeUnit.MILLISECONDS.sleep(POLL_MS);
        }
    }

    /** The next element, waited for. */
    static <T> T next(BlockingQueue<T> queue) throws InterruptedException {
        T element = queue.poll(DEADLINE_S, TimeUnit.SECONDS);
        holds(element != null, "nothing came");
        return element;
    }

    static byte[] bytes(String text) {
        return text.getBytes(java.nio.charset.StandardCharsets.UTF_8);
    }

    static String text(byte[] bytes) {
        return bytes == null ? null : new String(bytes, java.nio.charset.StandardCharsets.UTF_8);
    }
}
