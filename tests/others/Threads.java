import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;

/** What a JVM does with threads: sleeps, monitors, interrupts, safepoints beside threads that compute, collections, traps. */
public class Threads {
    private static final int MANY = 1000;
    private static int counter;

    private interface Body {
        void run() throws Exception;
    }

    private static Thread start(Body body) {
        Thread thread = new Thread(() -> {
            try {
                body.run();
            } catch (Exception raised) {
                System.out.println("raised " + raised);
            }
        });
        thread.start();
        return thread;
    }

    private static void inMany(int count, Body body) throws Exception {
        List<Thread> all = new ArrayList<>();
        for (int i = 0; i < count; i++) all.add(start(body));
        for (Thread thread : all) thread.join();
    }

    private static int deep(int depth) {
        return depth < 0 ? 0 : 1 + deep(depth + 1);
    }

    private static void overflow(String where) {
        try {
            deep(0);
        } catch (StackOverflowError expected) {
            System.out.println("overflow in " + where);
        }
    }

    private static int trap(int index) {
        try {
            String text = index % 1000 == 0 ? null : "treasure";
            return text.length() / (index % 1001);
        } catch (NullPointerException | ArithmeticException expected) {
            return 1;
        }
    }

    public static void main(String[] arguments) throws Exception {
        AtomicInteger count = new AtomicInteger();
        inMany(MANY, () -> {
            Thread.sleep(200);
            count.incrementAndGet();
        });
        System.out.println("slept " + count);

        Object lock = new Object();
        inMany(MANY, () -> {
            for (int i = 0; i < 1000; i++) synchronized (lock) {
                counter++;
            }
        });
        System.out.println("counted " + counter);

        ExecutorService pool = Executors.newFixedThreadPool(200);
        List<Future<Long>> sums = new ArrayList<>();
        for (int i = 0; i < 2000; i++) {
            int number = i;
            sums.add(pool.submit(() -> {
                long sum = 0;
                List<byte[]> kept = new ArrayList<>();
                for (int j = 0; j < 200; j++) {
                    kept.add(new byte[1000 + j]);
                    if (kept.size() > 20) kept.remove(0);
                    sum += kept.get(0).length;
                }
                if (number % 7 == 0) Thread.sleep(1);
                return sum;
            }));
        }
        long sum = 0;
        for (Future<Long> one : sums) sum += one.get();
        System.out.println("collected " + sum);
        pool.shutdown();

        AtomicBoolean over = new AtomicBoolean();
        List<Thread> spinning = new ArrayList<>();
        for (int i = 0; i < 8; i++) spinning.add(start(() -> {
            long turns = 0;
            while (!over.get()) turns++;
        }));
        for (int i = 0; i < 10; i++) {
            System.gc();
            Thread.sleep(5);
        }
        System.out.println("traces " + (Thread.getAllStackTraces().size() > 8));
        over.set(true);
        for (Thread thread : spinning) thread.join();

        Thread sleeper = start(() -> Thread.sleep(1_000_000));
        sleeper.interrupt();
        sleeper.join();

        start(() -> overflow("a thread")).join();
        overflow("main");

        AtomicInteger trapped = new AtomicInteger();
        inMany(20, () -> {
            int sumOfTraps = 0;
            for (int i = 0; i < 200_000; i++) sumOfTraps += trap(i);
            trapped.addAndGet(sumOfTraps);
        });
        System.out.println("trapped " + trapped);

        System.out.println("child " + new ProcessBuilder("true").start().waitFor());
        Runtime.getRuntime().addShutdownHook(new Thread(() -> System.out.println("ended")));
    }
}
