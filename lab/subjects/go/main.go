// The subject Go: subject-go BENCH key=value…, as lab/subjects/README.md says.
//
// It compiles with Go 1.19, and so has its own loops where a later Go has range over numbers and WaitGroup.Go.
package main

import (
	"fmt"
	"os"
	"runtime"
)

func main() {
	a, err := parse(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	runtime.GOMAXPROCS(a.number("workers"))
	switch a.bench {
	case "spawn_join":
		spawnJoin(a.number("count"))
	case "spawn_many":
		spawnMany(a.number("count"))
	case "yield":
		yield(a.number("count"))
	case "mutex":
		mutex(a.number("count"))
	case "skynet":
		skynet(a.number("leaves"))
	case "multicore":
		multicore(a.number("count"))
	case "pingpong":
		pingpong(a.number("count"))
	case "ring":
		ring(a.number("tasks"), a.number("count"))
	case "select":
		selectOne(a.number("count"))
	case "mpmc":
		mpmc(a.number("count"))
	case "memory_recv":
		receivers(a.number("tasks"))
	case "memory_sleep":
		sleepers(a.number("tasks"))
	case "timers":
		timers(a.number("tasks"))
	case "hog":
		besideHogs(a)
	case "blocked":
		besideBlocked(a)
	case "echo":
		echo()
	case "http":
		serveHTTP()
	default:
		fail("Go has no bench " + a.bench)
	}
}
