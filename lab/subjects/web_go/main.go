// Command server BENCH key=value… has three views behind net/http, on a free port of 127.0.0.1. It prints `PORT PID`.
package main

import (
	"bytes"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

var body = bytes.Repeat([]byte("0123456789abcdef"), 64)

// count takes time in proportion to turns; what it returns keeps the compiler from leaving it out.
//
//go:noinline
func count(turns int) uint64 {
	x := uint64(1)
	for ; turns > 0; turns-- {
		x = x*6364136223846793005 + 1442695040888963407
	}
	return x
}

// turnsAMillisecond tells how far count gets with a core to itself: the best of short tries, for 300 ms. By counting,
// since no clock tells what CPU time a goroutine had, and what others get meanwhile must not make the work less.
func turnsAMillisecond() float64 {
	const turns = 400_000
	best := time.Duration(1<<63 - 1)
	start := time.Now()
	for begin := start; begin.Sub(start) < 300*time.Millisecond; begin = time.Now() {
		count(turns)
		if took := time.Since(begin); took < best {
			best = took
		}
	}
	return turns / (best.Seconds() * 1000)
}

func send(w http.ResponseWriter, body []byte) {
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Write(body)
}

// milliseconds has the parameter of a view, or answers that it is missing.
func milliseconds(view func(http.ResponseWriter, int)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ms, err := strconv.Atoi(r.URL.Query().Get("ms"))
		if err != nil {
			http.Error(w, "ms: "+err.Error(), http.StatusBadRequest)
			return
		}
		view(w, ms)
	}
}

func main() {
	log.SetFlags(0)
	if len(os.Args) < 2 || (os.Args[1] != "view" && os.Args[1] != "multicore_http") {
		log.Fatal("server BENCH key=value…; there are view, multicore_http")
	}
	for _, pair := range os.Args[2:] {
		key, value, _ := strings.Cut(pair, "=")
		workers, err := strconv.Atoi(value)
		if key != "workers" || err != nil {
			log.Fatalf("'%s': there is only workers=NUMBER", pair)
		}
		runtime.GOMAXPROCS(workers)
	}
	turns := turnsAMillisecond()

	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { send(w, body) })
	http.HandleFunc("/spin", milliseconds(func(w http.ResponseWriter, ms int) {
		count(int(float64(ms) * turns))
		send(w, []byte("spun\n"))
	}))
	http.HandleFunc("/wait", milliseconds(func(w http.ResponseWriter, ms int) {
		time.Sleep(time.Duration(ms) * time.Millisecond)
		send(w, []byte("waited\n"))
	}))

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port, os.Getpid())
	log.Fatal(http.Serve(listener, nil))
}
