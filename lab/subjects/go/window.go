package main

import (
	"bufio"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	sleeping = 100
	sleep    = time.Millisecond
	// How long the sleepers are undisturbed, before the window begins and the others with it.
	warmUp = 300 * time.Millisecond
)

// A window in which is measured how late sleepers wake up beside others.
type window struct {
	begin, end time.Time
	over       atomic.Bool
}

// openWindow begins soon. What is to happen at its end happens in a goroutine: Go lets each run in time.
func openWindow(length time.Duration, atEnd func()) *window {
	w := &window{begin: time.Now().Add(warmUp)}
	w.end = w.begin.Add(length)
	go func() {
		time.Sleep(time.Until(w.end))
		w.over.Store(true)
		atEnd()
	}()
	return w
}

// lateness returns microseconds for each time that was due before the window's end and came after its begin: who was held
// up across either counts in full.
func (w *window) lateness() []int64 {
	var late []int64
	for {
		due := time.Now().Add(sleep)
		if !due.Before(w.end) {
			return late
		}
		time.Sleep(sleep)
		if now := time.Now(); now.After(w.begin) {
			late = append(late, now.Sub(due).Microseconds())
		}
	}
}

var sink uint64

func besideHogs(a args) {
	w := openWindow(a.secs(), func() {})
	w.measure(a, a.number("hogs"), func(int) {
		// No call: only a signal takes the core away.
		x := uint64(1)
		for !w.over.Load() {
			x = x*lcgA + lcgC
		}
		atomic.StoreUint64(&sink, x)
	})
}

func besideBlocked(a args) {
	held, others := holdFile(a.number("stuck"))
	w := openWindow(a.secs(), func() { held.Close() })
	w.measure(a, len(others), func(index int) {
		if err := lock(others[index]); err != nil {
			fail("flock: " + err.Error())
		}
		others[index].Close()
	})
}

// holdFile locks a file, and opens it others times more: whoever locks one of those waits until the first is closed.
func holdFile(others int) (*os.File, []*os.File) {
	held, err := os.CreateTemp("", "lab-held-")
	if err != nil {
		fail(err.Error())
	}
	defer os.Remove(held.Name())
	if err := lock(held); err != nil {
		fail("flock: " + err.Error())
	}
	files := make([]*os.File, others)
	for index := range files {
		if files[index], err = os.Open(held.Name()); err != nil {
			fail(err.Error())
		}
	}
	return held, files
}

// lock waits for the lock. Go interrupts system calls with a signal when it preempts, and its own calls go on after that.
func lock(file *os.File) error {
	for {
		if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != syscall.EINTR {
			return err
		}
	}
}

// measure lets sleepers run beside others, which come when the window begins, and writes how late they were.
func (w *window) measure(a args, others int, other func(index int)) {
	for index := 0; index < others; index++ {
		go func(index int) {
			time.Sleep(time.Until(w.begin))
			other(index)
		}(index)
	}
	var late [sleeping][]int64
	together(sleeping, func(index int) { late[index] = w.lateness() })
	file, err := os.Create(a.values["late"])
	if err != nil {
		fail(err.Error())
	}
	lines := bufio.NewWriter(file)
	for _, one := range late {
		for _, micros := range one {
			fmt.Fprintln(lines, micros)
		}
	}
	if err := lines.Flush(); err != nil {
		fail(err.Error())
	}
	report("value", 0)
}
