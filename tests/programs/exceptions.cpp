// Exceptions thrown in hot loops on several threads, thread-locals whose destructors compute, and C++'s own
// synchronisation, beside threads that never wait.
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <exception>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "check.h"

namespace {

constexpr int HOGS = 3;
std::atomic<bool> stop;

std::uint64_t compute(std::uint64_t seed, int effort) {
    double x = 1 + static_cast<double>(seed % 1000);
    std::uint64_t state = seed;
    for (int i = 0; i < effort * 1000; i++) {
        state = state * 6364136223846793005u + (seed | 1);
        x = x * 1.0001 + static_cast<double>(state >> 60);
        if (x > 1e6) x /= 1024;
    }
    std::uint64_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    return state ^ bits;
}

// --- those who wait ---

void others_go_on() {
    std::vector<std::thread> threads;
    for (int i = 0; i < 10; i++) {
        threads.emplace_back([] {
            for (int j = 0; j < 10; j++) std::this_thread::sleep_for(std::chrono::milliseconds(1));
        });
    }
    std::mutex mutex;
    std::condition_variable changed;
    int ball = 0;
    auto plays = [&](int side) {
        for (int i = 0; i < 100; i++) {
            std::unique_lock lock(mutex);
            changed.wait(lock, [&] { return ball % 2 == side; });
            ball++;
            changed.notify_all();
        }
    };
    threads.emplace_back(plays, 0);
    threads.emplace_back(plays, 1);
    for (auto &thread : threads) thread.join();
    CHECK(ball == 200);
    CHECK(std::async(std::launch::async, [] { return 7; }).get() == 7);
}

void beside(const std::function<void(int)> &body, const char *theme) {
    stop = false;
    std::vector<std::thread> hogs;
    for (int i = 0; i < HOGS; i++) {
        hogs.emplace_back([&body, i] {
            do body(i);
            while (!stop);
        });
    }
    for (int i = 0; i < 3; i++) others_go_on();
    stop = true;
    for (auto &hog : hogs) hog.join();
    PASS(theme);
}

// --- exceptions ---

struct Treasure : std::runtime_error {
    std::uint64_t number;
    explicit Treasure(std::uint64_t number) : std::runtime_error(std::to_string(number)), number(number) {}
};

thread_local int alive = 0;

struct Counted {
    std::uint64_t seed, expected;
    explicit Counted(std::uint64_t seed) : seed(seed), expected(compute(seed, 0)) { alive++; }
    Counted(const Counted &) = delete;
    ~Counted() {
        CHECK(std::uncaught_exceptions() == 1);
        CHECK(compute(seed, 1) == compute(seed, 1));
        alive--;
    }
};

[[gnu::noinline]] void descends(int depth, std::uint64_t number) {
    Counted counted(number + static_cast<std::uint64_t>(depth));
    std::string text(static_cast<std::size_t>(depth) + 40, 'x');
    if (depth == 0) throw Treasure(number);
    descends(depth - 1, number);
    CHECK(text.size() > 40);
}

void throws(int index) {
    for (int i = 0; i < 20; i++) {
        auto number = static_cast<std::uint64_t>(index * 1000 + i);
        try {
            descends(30, number);
            CHECK(false);
        } catch (const Treasure &treasure) {
            CHECK(treasure.number == number && treasure.what() == std::to_string(number));
        }
        CHECK(alive == 0 && std::uncaught_exceptions() == 0);
    }
}

void throws_again(int index) {
    try {
        try {
            try {
                throw Treasure(static_cast<std::uint64_t>(index));
            } catch (...) {
                CHECK(compute(3, 5) == compute(3, 5));
                throw;
            }
        } catch (const std::exception &) {
            std::throw_with_nested(std::logic_error("outer"));
        }
    } catch (const std::logic_error &outer) {
        CHECK(std::string(outer.what()) == "outer");
        try {
            std::rethrow_if_nested(outer);
            CHECK(false);
        } catch (const Treasure &treasure) {
            CHECK(treasure.number == static_cast<std::uint64_t>(index));
        }
    }
    CHECK(!std::current_exception());
}

// An exception that is caught on one thread and thrown again on another.
void carries(int index) {
    auto number = static_cast<std::uint64_t>(index);
    std::promise<int> promise;
    auto future = promise.get_future();
    std::thread thread([&promise, number] {
        try {
            descends(5, number);
        } catch (...) {
            promise.set_exception(std::current_exception());
        }
    });
    try {
        future.get();
        CHECK(false);
    } catch (const Treasure &treasure) {
        CHECK(treasure.number == number);
    }
    thread.join();
}

// --- thread-locals ---

std::atomic<int> begun, ended;

struct Computes {
    std::map<int, std::string> words;
    Computes() { begun++; }
    ~Computes() {
        CHECK(compute(words.size(), 20) == compute(words.size(), 20));
        try {
            throw Treasure(words.size());
        } catch (const Treasure &treasure) {
            CHECK(treasure.number == words.size());
        }
        for (const auto &[number, word] : words) CHECK(word == std::to_string(number));
        ended++;
    }
};

thread_local Computes computes;

void ends(int index) {
    std::thread thread([index] {
        for (int i = 0; i < 20 + index; i++) computes.words[i] = std::to_string(i);
    });
    thread.join();
}

// --- the library ---

void formats(int index) {
    std::ostringstream out;
    out << index << ' ' << 1234.5 << ' ' << std::hex << 255;
    std::istringstream in(out.str());
    int first;
    double second;
    std::string third;
    in >> first >> second >> third;
    CHECK(first == index && second == 1234.5 && third == "ff");
}

struct Once {
    std::uint64_t value = compute(9, 50);
};

// A local static whose initialiser throws, and computes: others wait for it.
std::uint64_t once(int attempt) {
    static std::atomic<int> attempts;
    static Once value = [attempt] {
        compute(1, 50);
        if (attempts++ < 5) throw Treasure(static_cast<std::uint64_t>(attempt));
        return Once();
    }();
    return value.value;
}

void initialises(int index) {
    try {
        CHECK(once(index) == compute(9, 50));
    } catch (const Treasure &treasure) {
        CHECK(treasure.number == static_cast<std::uint64_t>(index));
    }
}

void shares(int) {
    static std::atomic<int> living{0};
    struct Member {
        Member() { living++; }
        ~Member() { living--; }
    };
    std::vector<std::shared_ptr<Member>> members;
    for (int i = 0; i < 100; i++) members.push_back(i % 3 ? members[0] : std::make_shared<Member>());
    CHECK(members[0].use_count() == 1 + 66);
    CHECK(living >= 34);
}

}  // namespace

int main() {
    beside(throws, "exceptions");
    beside(throws_again, "nested exceptions");
    beside(carries, "exceptions between threads");
    beside(ends, "thread-locals");
    CHECK(begun == ended && begun > 0);
    beside(formats, "streams");
    beside(initialises, "local statics");
    beside(shares, "shared pointers");
    return 0;
}
