package main

import (
	"runtime"
	"sync"
	"time"
)

// share is the part of task index, of total for all tasks: what does not divide goes to the first ones.
func share(total, tasks, index int) int {
	if index < total%tasks {
		return total/tasks + 1
	}
	return total / tasks
}

// together runs task(0) to task(tasks - 1) and waits for all.
func together(tasks int, task func(index int)) {
	var all sync.WaitGroup
	all.Add(tasks)
	for index := 0; index < tasks; index++ {
		go func(index int) {
			defer all.Done()
			task(index)
		}(index)
	}
	all.Wait()
}

func spawnJoin(count int) {
	run := func(count int) {
		var one sync.WaitGroup
		for i := 0; i < count; i++ {
			one.Add(1)
			go one.Done()
			one.Wait()
		}
	}
	run(count / 10)
	start := time.Now()
	run(count)
	reportEach(start, count)
}

func spawnMany(count int) {
	run := func(count int) {
		var all sync.WaitGroup
		for i := 0; i < count; i++ {
			all.Add(1)
			go all.Done()
		}
		all.Wait()
	}
	run(count / 10)
	start := time.Now()
	run(count)
	reportEach(start, count)
}

func yield(count int) {
	run := func(count int) {
		together(2, func(index int) {
			for i := share(count, 2, index); i > 0; i-- {
				runtime.Gosched()
			}
		})
	}
	run(count / 10)
	start := time.Now()
	run(count)
	reportEach(start, count)
}

func mutex(count int) {
	run := func(count int) {
		var lock sync.Mutex
		counter := 0
		together(8, func(index int) {
			for i := share(count, 8, index); i > 0; i-- {
				lock.Lock()
				counter++
				lock.Unlock()
			}
		})
		if counter != count {
			fail("an increment was lost")
		}
	}
	run(count / 10)
	start := time.Now()
	run(count)
	reportEach(start, count)
}

// A tree of goroutines, and channels up it.
func skynet(leaves int) {
	sum := make(chan int)
	start := time.Now()
	go node(sum, 0, leaves)
	if <-sum != leaves*(leaves-1)/2 {
		fail("the sum is wrong")
	}
	reportMillis(start)
}

func node(parent chan<- int, first, leaves int) {
	if leaves == 1 {
		parent <- first
		return
	}
	part := leaves / 10
	children := make(chan int, 10)
	for index := 0; index < 10; index++ {
		go node(children, first+index*part, part)
	}
	sum := 0
	for index := 0; index < 10; index++ {
		sum += <-children
	}
	parent <- sum
}

// Knuth's MMIX generator: each round needs the one before.
const (
	lcgA uint64 = 6364136223846793005
	lcgC uint64 = 1442695040888963407
)

func rounds(x uint64, count int) uint64 {
	for i := 0; i < count; i++ {
		x = x*lcgA + lcgC
	}
	return x
}

// jump is where rounds leads, by squaring: to check those who went.
func jump(x uint64, count int) uint64 {
	a, c := lcgA, lcgC
	for ; count > 0; count >>= 1 {
		if count&1 == 1 {
			x = x*a + c
		}
		c *= a + 1
		a *= a
	}
	return x
}

func multicore(count int) {
	run := func(count int) {
		var done [2]uint64
		together(2, func(index int) {
			done[index] = rounds(uint64(index), share(count, 2, index))
		})
		for index, x := range done {
			if x != jump(uint64(index), share(count, 2, index)) {
				fail("the result is wrong")
			}
		}
	}
	run(count / 10)
	start := time.Now()
	run(count)
	reportMillis(start)
}
