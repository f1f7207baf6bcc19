package main

import (
	"bytes"
	"math/rand"
	"os"
	"runtime"
	"strconv"
	"sync"
	"time"
)

// field returns `field: N kB` of a file in /proc, in bytes.
func field(path, field string) float64 {
	text, err := os.ReadFile(path)
	if err != nil {
		fail(err.Error())
	}
	for _, line := range bytes.Split(text, []byte("\n")) {
		if words := bytes.Fields(line); len(words) > 1 && string(words[0]) == field+":" {
			if kib, err := strconv.ParseFloat(string(words[1]), 64); err == nil {
				return kib * 1024
			}
		}
	}
	fail(path + " has no " + field)
	return 0
}

type memory struct{ rss, pageTables, available float64 }

func memoryNow() memory {
	return memory{
		field("/proc/self/status", "VmRSS"),
		field("/proc/self/status", "VmPTE"),
		field("/proc/meminfo", "MemAvailable"),
	}
}

// Each waits for a message of one channel.
func receivers(tasks int) {
	channel := make(chan struct{})
	measure(tasks, func() { <-channel })
}

func sleepers(tasks int) {
	measure(tasks, func() { time.Sleep(time.Hour) })
}

func measure(tasks int, wait func()) {
	var waiting sync.WaitGroup
	waiting.Add(tasks)
	runtime.GC()
	before := memoryNow()
	for i := 0; i < tasks; i++ {
		go func() {
			waiting.Done()
			wait()
		}()
	}
	waiting.Wait()
	time.Sleep(200 * time.Millisecond) // from there to the wait itself
	now, each := memoryNow(), float64(tasks)
	report("value", (now.rss-before.rss)/each)
	report("page_tables", (now.pageTables-before.pageTables)/each)
	report("system", (before.available-now.available)/each)
}

// Each sleeps for a random part of a second.
func timers(tasks int) {
	start := time.Now()
	var all sync.WaitGroup
	all.Add(tasks)
	for i := 0; i < tasks; i++ {
		moment := time.Duration(rand.Int63n(int64(time.Second)))
		go func() {
			time.Sleep(moment)
			all.Done()
		}()
	}
	all.Wait()
	report("value", time.Since(start).Seconds()*1e3-1e3)
	report("rss", field("/proc/self/status", "VmHWM")/1024/1024)
}
