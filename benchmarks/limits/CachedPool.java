import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.locks.LockSupport;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/**
 * Java's thread cache, Executors.newCachedThreadPool, at the same work.
 *
 * <p>java CachedPool MEASUREMENT PARAMS: a round for each line that is read, a line of JSON for each answer. The CPU time
 * is left out, which Java knows to ten milliseconds.
 */
public final class CachedPool {
    private static final int WARM_UP = 20;
    private static final int COMPILED = 10_000; // calls after which the compiler has seen to what they do

    private static final ExecutorService POOL = Executors.newCachedThreadPool();
    private static final Runnable NOTHING = () -> { };

    private interface Call {
        /** Has a job done, waits for it, and returns when it was submitted. */
        long run() throws Exception;
    }

    private static volatile boolean done;

    private static long executeAndPark() {
        Thread caller = Thread.currentThread();
        done = false;
        POOL.execute(() -> {
            done = true;
            LockSupport.unpark(caller);
        });
        long submitted = System.nanoTime();
        while (!done) {
            LockSupport.park();
        }
        return submitted;
    }

    private static long submitAndGet() throws Exception {
        Future<?> future = POOL.submit(NOTHING);
        long submitted = System.nanoTime();
        future.get();
        return submitted;
    }

    private static double median(long[] times) {
        long[] sorted = times.clone();
        Arrays.sort(sorted);
        return (sorted[(sorted.length - 1) / 2] + sorted[sorted.length / 2]) / 2e3;
    }

    private static String timeEach(Call call, int calls) throws Exception {
        long[] whole = new long[calls];
        long[] submit = new long[calls];
        for (int i = -WARM_UP; i < calls; i++) {
            long began = System.nanoTime();
            long submitted = call.run();
            long ended = System.nanoTime();
            if (i >= 0) {
                whole[i] = ended - began;
                submit[i] = submitted - began;
            }
        }
        double mean = Arrays.stream(whole).average().orElseThrow() / 1e3;
        return "{\"round trip us\": " + median(whole) + ", \"call us\": " + median(whole)
                + ", \"round trip mean us\": " + mean + ", \"call mean us\": " + mean
                + ", \"submit us\": " + median(submit) + ", \"samples ns\": "
                + Arrays.stream(whole).mapToObj(Long::toString).collect(Collectors.joining(",", "[", "]")) + "}";
    }

    private static void chain(int left, CountDownLatch finished) {
        POOL.execute(() -> {
            if (left > 1) {
                chain(left - 1, finished);
            } else {
                finished.countDown();
            }
        });
    }

    private static String chain(int jobs) throws Exception {
        CountDownLatch finished = new CountDownLatch(1);
        long began = System.nanoTime();
        chain(jobs, finished);
        finished.await();
        return "{\"job us\": " + (System.nanoTime() - began) / 1e3 / jobs + "}";
    }

    private static String burst(int jobs) throws Exception {
        CountDownLatch delivered = new CountDownLatch(jobs);
        Set<Thread> threads = ConcurrentHashMap.newKeySet();
        long began = System.nanoTime();
        for (int i = 0; i < jobs; i++) {
            POOL.execute(() -> {
                threads.add(Thread.currentThread());
                delivered.countDown();
            });
        }
        delivered.await();
        long ended = System.nanoTime();
        return "{\"job us\": " + (ended - began) / 1e3 / jobs + ", \"threads\": " + threads.size() + "}";
    }

    private static String blocking(int jobs) throws Exception {
        CountDownLatch running = new CountDownLatch(jobs);
        CountDownLatch gate = new CountDownLatch(1);
        long began = System.nanoTime();
        for (int i = 0; i < jobs; i++) {
            POOL.execute(() -> {
                running.countDown();
                try {
                    gate.await();
                } catch (InterruptedException error) {
                    throw new AssertionError(error);
                }
            });
        }
        running.await();
        long ended = System.nanoTime();
        gate.countDown();
        return "{\"job us\": " + (ended - began) / 1e3 / jobs + "}";
    }

    private static String many(int calls) throws Exception {
        List<Future<?>> futures = new ArrayList<>(calls);
        long began = System.nanoTime();
        for (int i = 0; i < calls; i++) {
            futures.add(POOL.submit(NOTHING));
        }
        long submitted = System.nanoTime();
        for (Future<?> future : futures) {
            future.get();
        }
        long ended = System.nanoTime();
        return "{\"call us\": " + (ended - began) / 1e3 / calls + ", \"submit us\": "
                + (submitted - began) / 1e3 / calls + "}";
    }

    private static int parameter(String params, String name) {
        Matcher found = Pattern.compile('"' + name + "\":\\s*([0-9]+)").matcher(params);
        if (!found.find()) {
            throw new IllegalArgumentException("no " + name + " in " + params);
        }
        return Integer.parseInt(found.group(1));
    }

    private static String round(String measurement, String params) throws Exception {
        switch (measurement) {
            case "round trip":
                return timeEach(CachedPool::executeAndPark, parameter(params, "calls"));
            case "submit and result":
                return timeEach(CachedPool::submitAndGet, parameter(params, "calls"));
            case "chain":
                return chain(parameter(params, "jobs"));
            case "burst":
                burst(parameter(params, "jobs"));
                return burst(parameter(params, "jobs"));
            case "blocking":
                return blocking(parameter(params, "jobs"));
            case "many futures":
                return many(parameter(params, "calls"));
            default:
                throw new IllegalArgumentException("no such measurement: " + measurement);
        }
    }

    public static void main(String[] arguments) throws Exception {
        for (int i = 0; i < COMPILED; i++) {
            executeAndPark();
            submitAndGet();
        }
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in));
        while (input.readLine() != null) {
            System.out.println(round(arguments[0], arguments[1]));
            System.out.flush();
        }
        System.exit(0);
    }
}
