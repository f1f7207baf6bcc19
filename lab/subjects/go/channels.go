package main

import (
	"sync"
	"time"
)

// There and back over unbuffered channels.
func pingpong(count int) {
	run := func(count int) {
		ping, pong := make(chan int), make(chan int)
		together(2, func(index int) {
			if index == 0 {
				for message := range ping {
					pong <- message
				}
				return
			}
			for message := 0; message < count; message++ {
				ping <- message
				if <-pong != message {
					fail("another message came back")
				}
			}
			close(ping)
		})
	}
	run(count / 10)
	start := time.Now()
	run(count)
	reportEach(start, count)
}

// The token is how many hops are left. The goroutine that it leaves none tells which one it is.
func ring(tasks, count int) {
	channels := make([]chan int, tasks)
	for index := range channels {
		channels[index] = make(chan int, 1)
	}
	arrived := make(chan int)
	for index := range channels {
		go func(index int) {
			next := channels[(index+1)%tasks]
			for left := range channels[index] {
				if left == 0 {
					arrived <- index
				} else {
					next <- left - 1
				}
			}
		}(index)
	}
	run := func(count int) {
		channels[0] <- count - 1
		if <-arrived != (count-1)%tasks {
			fail("the token is where it should not be")
		}
	}
	run((count + 9) / 10)
	start := time.Now()
	run(count)
	reportEach(start, count)
}

// Four senders, four receivers.
func mpmc(count int) {
	run := func(count int) {
		channel := make(chan int, 1024)
		var received [4]int
		var receivers sync.WaitGroup
		receivers.Add(4)
		for index := 0; index < 4; index++ {
			go func(index int) {
				defer receivers.Done()
				got := 0 // its own, as the array's elements share a cache line
				for range channel {
					got++
				}
				received[index] = got
			}(index)
		}
		together(4, func(index int) {
			for message := share(count, 4, index); message > 0; message-- {
				channel <- message
			}
		})
		close(channel)
		receivers.Wait()
		if received[0]+received[1]+received[2]+received[3] != count {
			fail("a message was lost")
		}
	}
	run(count / 10)
	start := time.Now()
	run(count)
	reportEach(start, count)
}

// Eight channels, of which one has a message: another one in each round.
func selectOne(count int) {
	var channels [8]chan int
	for index := range channels {
		channels[index] = make(chan int, 1)
	}
	run := func(count int) {
		for message := 0; message < count; message++ {
			channels[message%8] <- message
			var received int
			select {
			case received = <-channels[0]:
			case received = <-channels[1]:
			case received = <-channels[2]:
			case received = <-channels[3]:
			case received = <-channels[4]:
			case received = <-channels[5]:
			case received = <-channels[6]:
			case received = <-channels[7]:
			}
			if received != message {
				fail("another message was selected")
			}
		}
	}
	run(count / 10)
	start := time.Now()
	run(count)
	reportEach(start, count)
}
